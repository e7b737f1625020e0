//! E1: the compiled form gives every flow of generated clusters the verdict of the direct reading, for the
//! same reason. `PROPTEST_CASES` asks for more cases, `PROPTEST_RNG_SEED` for others.
//! Not here: maps and packets.

use crate::evaluate::{cell, is_open, side};
use crate::{generate, mk};
use isolator_common::addr::Prefix;
use isolator_common::policy::Direction;
use isolator_policy::datapath::compiled::{CellSpec, Compiled, Effect};
use isolator_policy::meaning::compile::compile;
use isolator_policy::meaning::flow::{FlowSpec, Found, find, judging_node};
use isolator_policy::meaning::oracle::{Side, judge};
use isolator_policy::meaning::why::By;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{TestCaseResult, TestRunner};
use std::collections::{BTreeMap, BTreeSet};

proptest! {
    #![proptest_config(generate::config(6144))]

    #[test]
    fn the_compiled_form_says_what_the_texts_say(
        objects in generate::objects(),
        asked in generate::protocols_and_ports(),
    ) {
        let ends = generate::ends(&objects);
        let snapshot = mk::snapshot(objects);
        let nodes: BTreeSet<&str> = snapshot.pods().values().map(|pod| judging_node(pod)).collect();
        let compiled: BTreeMap<&str, Compiled> =
            nodes.into_iter().map(|node| (node, compile(&snapshot, node))).collect();
        for one in compiled.values() {
            well_formed(one)?;
        }
        for flow in generate::flows(&ends, &asked) {
            let Ok((source, destination)) = find(&snapshot, &flow) else {
                prop_assert!(judge(&snapshot, &flow).is_err());
                continue;
            };
            let said = judge(&snapshot, &flow).expect("both ends are found");
            agree(&compiled, &flow, Direction::Egress, &source, &destination, &said.egress)?;
            agree(&compiled, &flow, Direction::Ingress, &destination, &source, &said.ingress)?;
        }
    }

    #[test]
    fn equal_snapshots_compile_to_equal_values(objects in generate::objects()) {
        let one = compile(&mk::snapshot(objects.clone()), "n1");
        let mut again = objects;
        again.sort_by_key(|object| std::cmp::Reverse(object.key()));
        // Of two objects with one name the later counts: they must stay in their order.
        prop_assert_eq!(one, compile(&mk::snapshot(again), "n1"));
    }
}

/// A test that draws too narrowly would pass whatever the code does.
#[test]
fn generated_flows_meet_every_kind_of_verdict() {
    let mut runner = TestRunner::new(generate::config(0));
    let mut met: BTreeSet<String> = BTreeSet::new();
    for _ in 0..100 {
        let objects = generate::objects().new_tree(&mut runner).expect("a cluster").current();
        let asked = generate::protocols_and_ports().new_tree(&mut runner).expect("ports").current();
        let ends = generate::ends(&objects);
        let snapshot = mk::snapshot(objects);
        for flow in generate::flows(&ends, &asked) {
            if let Ok(verdict) = judge(&snapshot, &flow) {
                for side in [verdict.egress, verdict.ingress] {
                    let kind = format!("{:?}", side.by);
                    met.insert(format!(
                        "{} {}",
                        side.allowed,
                        kind.split([' ', '{']).next().unwrap_or_default()
                    ));
                }
            }
        }
    }
    let expected = [
        "false AddressConflict",
        "false DefaultDeny",
        "false Rule",
        "false Tenancy",
        "true LocalHost",
        "true Loopback",
        "true NoPolicy",
        "true NotEnforced",
        "true Rule",
        "true Service",
    ];
    assert_eq!(met.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

/// Both readings of one side.
fn agree(
    compiled: &BTreeMap<&str, Compiled>,
    flow: &FlowSpec,
    direction: Direction,
    end: &Found<'_>,
    other: &Found<'_>,
    said: &Side,
) -> TestCaseResult {
    let Some(pod) = end.pod else {
        prop_assert_eq!(said, &Side { allowed: true, by: By::NotEnforced });
        return Ok(());
    };
    if other.pod.is_some_and(|other| other.key == pod.key) {
        prop_assert_eq!(said, &Side { allowed: true, by: By::Loopback });
        return Ok(());
    }
    let compiled = &compiled[judging_node(pod)];
    let (found, effect) = side(compiled, &pod.key, direction, &other.addr, (flow.protocol, flow.port));
    prop_assert_eq!(&found, said, "{} {:?}", direction.name(), flow);
    // Replies come through the opposite direction of the same endpoint.
    let is_open = |direction| is_open(cell(compiled, &pod.key, direction, &other.addr));
    let tracked = || !Direction::BOTH.into_iter().all(is_open);
    let fits = match (&found.by, found.allowed) {
        (By::Tenancy { .. } | By::AddressConflict, false) => effect == Effect::Tenancy,
        (By::DefaultDeny { .. }, false) => effect == Effect::DefaultDeny,
        (By::Rule { .. }, false) => effect == Effect::Deny,
        (By::Rule { .. } | By::NoPolicy { .. } | By::LocalHost, true) => {
            effect == if tracked() { Effect::AllowTracked } else { Effect::Allow }
        }
        (By::Service, true) => effect == if tracked() { Effect::ServiceTracked } else { Effect::Service },
        _ => false,
    };
    prop_assert!(fits, "{effect:?} does not fit {found:?}");
    Ok(())
}

/// What every compiled form promises whatever the policies are.
fn well_formed(compiled: &Compiled) -> TestCaseResult {
    let (rows, cells) = (compiled.rows.rows(), compiled.rows.cells());
    prop_assert!(rows.iter().all(|row| row.len() == compiled.groups as usize));
    for cell in cells {
        let CellSpec::ByPort(verdicts) = cell else { continue };
        prop_assert!(verdicts.len() > 1);
        prop_assert_eq!(verdicts[0].0, 0);
        prop_assert!(verdicts.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1));
    }
    let distinct: BTreeSet<_> = cells.iter().collect();
    prop_assert_eq!(distinct.len(), cells.len(), "cells are distinct");
    let distinct: BTreeSet<_> = rows.iter().collect();
    prop_assert_eq!(distinct.len(), rows.len(), "rows are distinct");
    let columns: BTreeSet<Vec<_>> =
        (0..compiled.groups as usize).map(|group| rows.iter().map(|row| row[group]).collect()).collect();
    prop_assert_eq!(columns.len(), compiled.groups as usize, "no two groups are treated alike by every row");
    let behind = compiled.addresses.values().chain(compiled.prefixes.values());
    for behind in behind {
        prop_assert!(behind.group.0 < compiled.groups);
        prop_assert!(compiled.identities.contains_key(&behind.identity));
    }
    prop_assert!(
        compiled.prefixes.contains_key(&Prefix::ALL_V4) && compiled.prefixes.contains_key(&Prefix::ALL_V6)
    );
    prop_assert!(compiled.startup.iter().all(Option::is_some));
    Ok(())
}
