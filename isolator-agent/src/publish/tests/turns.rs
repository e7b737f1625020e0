//! When Events are written. Not here: their words.

use super::super::complaint::{Complaint, Policy};
use super::super::turns::{SPEAKERS, Turns};
use super::*;

fn mk_complaints(names: &[&str], message: &str) -> Vec<Complaint> {
    let problem =
        |name: &&str| mk_problem(&format!("NetworkPolicy a/{name}"), "invalid-field", "spec", message);
    Complaint::all(&names.iter().map(problem).collect::<Vec<_>>())
}

/// Lets `second` say what is wrong at each of some seconds, on a node with this rank; answers when what was said.
fn said(until: u64, rank: Option<usize>, second: impl Fn(u64) -> Vec<Complaint>) -> Vec<(u64, String)> {
    let mut turns = Turns::new();
    let mut all = Vec::new();
    for now in 0..until {
        turns.see(second(now), seconds(now));
        while let Some(complaint) = turns.next(seconds(now), &|_: &Policy| rank) {
            turns.done(&complaint.policy, seconds(now), 0.5);
            all.push((now, complaint.note));
        }
    }
    all
}

fn times(said: &[(u64, String)]) -> Vec<u64> {
    said.iter().map(|(at, _)| *at).collect()
}

#[test]
fn what_stays_wrong_is_said_once_and_then_every_half_hour() {
    assert_eq!(times(&said(4000, Some(0), |_| mk_complaints(&["np"], "x"))), [5, 1805, 3605]);
}

#[test]
fn each_in_the_ranks_gives_the_one_before_it_a_minute_and_the_rest_are_silent() {
    let first = |rank| times(&said(1000, rank, |_| mk_complaints(&["np"], "x")));
    assert_eq!(first(Some(1)), [65]);
    assert_eq!(first(Some(SPEAKERS - 1)), [245]);
    assert_eq!(first(Some(SPEAKERS)), [0; 0]);
    assert_eq!(first(None), [0; 0]);
    // What is put right before is never said.
    let brief = |now| if now < 60 { mk_complaints(&["np"], "x") } else { Vec::new() };
    assert_eq!(times(&said(1000, Some(1), brief)), [0; 0]);
}

#[test]
fn who_becomes_a_speaker_speaks_at_the_next_look() {
    let mut turns = Turns::new();
    turns.see(mk_complaints(&["np"], "x"), seconds(0));
    assert_eq!(turns.next(seconds(5), &|_: &Policy| Some(9)), None);
    assert_eq!(turns.due(), Some(seconds(1805)));
    assert!(turns.next(seconds(1805), &|_: &Policy| Some(0)).is_some(), "nodes are gone");
}

#[test]
fn an_edit_that_is_edited_is_said_when_it_stays_and_other_words_a_minute_later() {
    // Somebody tries things for five minutes, one each second, and rests for ten seconds each minute.
    let edits = |now: u64| {
        let version = if now % 60 >= 50 { now / 60 * 60 + 50 } else { now };
        mk_complaints(&["np"], &format!("version {}", version.min(301)))
    };
    let all = said(1000, Some(0), edits);
    assert_eq!(times(&all), [55, 115, 175, 235, 295, 355], "{all:?}");
    let flip = |now: u64| mk_complaints(&["np"], if (now / 10).is_multiple_of(2) { "a" } else { "b" });
    let flips = times(&said(600, Some(0), flip));
    assert!(flips.windows(2).all(|pair| pair[1] - pair[0] >= 60), "{flips:?}");
}

#[test]
fn many_policies_at_once_are_said_within_a_budget() {
    let names: Vec<String> = (0..500).map(|n| format!("np-{n:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let all = mk_complaints(&names, "x");
    let said = said(1500, Some(0), |_| all.clone());
    let within = |seconds| said.iter().filter(|(at, _)| *at < seconds).count();
    assert_eq!(within(6), 20);
    assert!((20..=41).contains(&within(66)), "{}", within(66));
    assert!(within(1500) >= 500, "all of them are said in the end");
}

#[test]
fn what_is_not_taken_is_tried_again_more_and_more_rarely_and_costs_the_others_their_turn() {
    let mut turns = Turns::new();
    let mut at = Vec::new();
    for now in 0..600 {
        turns.see(mk_complaints(&["a", "b"], "x"), seconds(now));
        while turns.next(seconds(now), &|_: &Policy| Some(0)).is_some() {
            turns.failed(seconds(now), 0.999_999);
            at.push(now);
        }
    }
    assert_eq!(at, [5, 20, 50, 110, 230, 470]);
}
