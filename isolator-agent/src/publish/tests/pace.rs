//! When the node's account is written. Not here: the account.

use super::super::account::Health;
use super::super::pace::Pace;
use super::*;

/// Lets `second` say how things are at each of so many seconds; answers when something was written.
fn writes(until: u64, random: f64, second: impl Fn(u64) -> Account) -> Vec<u64> {
    let mut pace = Pace::new(random);
    let mut at = Vec::new();
    for now in 0..until {
        pace.want(second(now), seconds(now));
        if let Some(account) = pace.next(seconds(now)) {
            at.push(now);
            pace.done(account, seconds(now), random);
        }
    }
    at
}

#[test]
fn the_same_is_written_at_first_and_then_every_ten_minutes() {
    assert_eq!(writes(1300, 0.0, |_| mk_account(3)), [10, 550, 1090]);
    assert_eq!(writes(1300, 0.999_999, |_| mk_account(3)), [20, 680]);
}

#[test]
fn numbers_that_change_all_the_time_are_written_once_a_minute() {
    for random in [0.0, 0.999_999] {
        // A thousand pods come and go each second.
        let at = writes(3600, random, |now| mk_account(1000 + now));
        assert!((44..=60).contains(&at.len()), "{} writes in an hour", at.len());
        assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= 60), "{at:?}");
    }
}

#[test]
fn another_health_is_written_soon_and_at_most_six_times_a_minute() {
    let ill = |account: Account| Account { health: Health::Degraded, ..account };
    let at = writes(120, 0.0, |now| if now < 100 { mk_account(3) } else { ill(mk_account(3)) });
    assert_eq!(at, [10, 100]);
    let at = writes(120, 0.999_999, |now| if now < 100 { mk_account(3) } else { ill(mk_account(3)) });
    assert_eq!(at, [20, 103], "not every node at the same moment");
    let flapping = writes(3610, 0.0, |now| if now % 2 == 0 { mk_account(3) } else { ill(mk_account(3)) });
    assert!(flapping.windows(2).all(|pair| pair[1] - pair[0] >= 10), "{flapping:?}");
    assert!(flapping.len() <= 360, "{} writes in an hour", flapping.len());
}

#[test]
fn what_is_not_taken_is_tried_again_more_and_more_rarely() {
    let mut pace = Pace::new(0.0);
    let mut at = Vec::new();
    for now in 0..1000 {
        pace.want(mk_account(now), seconds(now));
        if pace.next(seconds(now)).is_some() {
            at.push(now);
            pace.failed(seconds(now), 0.999_999);
        }
    }
    assert_eq!(at, [10, 25, 55, 115, 235, 475, 775]);
    // It works: the next trouble begins anew.
    let account = pace.next(seconds(1080)).unwrap();
    pace.done(account, seconds(1080), 0.0);
    pace.want(mk_account(1), seconds(1081));
    assert_eq!(pace.due(), Some(seconds(1140)));
}
