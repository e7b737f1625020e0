//! The semantic cases of `cases/`, judged by the direct reading and by the maps in memory. Not here: cases that no
//! manifest can say (`isolator-policy`), the loaded programs, real packets.

mod memory;

use isolator_common::addr::Addr;
use isolator_policy::meaning::flow::{End, FlowSpec};
use isolator_policy::meaning::oracle::judge;
use isolator_policy::model::PodKey;
use isolator_tests::cases::{self, Case, Flow, Wanted};
use memory::Nodes;
use std::net::IpAddr;

/// What is not as it is written, one line each.
fn mismatches(case: &Case) -> Result<Vec<String>, String> {
    let snapshot = case.snapshot()?;
    let nodes = Nodes::new(&snapshot);
    let mut wrong = Vec::new();
    for flow in &case.flows {
        let Flow { from, to, protocol, egress, ingress, by, .. } = flow;
        let shown = format!("{from} > {to} {protocol:?}/{}", flow.number()?);
        let spec = spec(flow)?;
        let read = judge(&snapshot, &spec).map_err(|error| format!("{shown}: {error}"))?;
        let compiled = nodes.judge(&snapshot, &spec);
        for (side, wanted, because, read, compiled) in [
            ("egress", egress, &by.egress, read.egress, compiled.0),
            ("ingress", ingress, &by.ingress, read.ingress, compiled.1),
        ] {
            for (engine, allowed) in [("the texts", read.allowed), ("the maps", compiled)] {
                let said = if allowed { Wanted::Allowed } else { Wanted::Denied };
                if said != *wanted {
                    wrong.push(format!("{shown}: {side}: wanted {wanted:?}, {engine} say {said:?}"));
                }
            }
            let said = read.by.to_string();
            if let Some(because) = because.as_ref().filter(|because| **because != said) {
                wrong.push(format!("{shown}: {side}: wanted by `{because}`, the texts say `{said}`"));
            }
        }
    }
    Ok(wrong)
}

fn spec(flow: &Flow) -> Result<FlowSpec, String> {
    let (from, to) = (end(&flow.from)?, end(&flow.to)?);
    Ok(FlowSpec { from, to, protocol: flow.protocol as u8, port: flow.number()? })
}

fn end(text: &str) -> Result<End, String> {
    if let Some(name) = text.strip_prefix("node:") {
        return Ok(End::Node(name.to_owned()));
    }
    match text.parse() {
        Ok(IpAddr::V4(v4)) => return Ok(End::Address(Addr::v4(v4.octets()))),
        Ok(IpAddr::V6(v6)) => return Ok(End::Address(Addr(v6.octets()))),
        Err(_) => {}
    }
    let (namespace, name) = text.split_once('/').ok_or(format!("`{text}` is no end of a flow"))?;
    Ok(End::Pod(PodKey { namespace: namespace.to_owned(), name: name.to_owned() }))
}

#[test]
fn every_case_file_holds_in_both_readings() {
    let (mut files, mut wrong) = (0, Vec::new());
    for (name, case) in cases::all() {
        match case.and_then(|case| mismatches(&case)) {
            Ok(mismatches) => wrong.extend(mismatches.iter().map(|line| format!("{name}: {line}"))),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
        files += 1;
    }
    assert!(files > 0, "no case files");
    assert!(
        wrong.is_empty(),
        "{} of what {files} files say does not hold:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn a_case_without_flows_or_with_an_unknown_key_is_an_error() {
    let flow = "{from: a/b, to: 10.0.0.1, protocol: TCP, port: 80, egress: allowed, ingress: denied}";
    let good = format!("what: It holds.\nmanifests: []\nflows: [{flow}]\n");
    Case::read(&good).unwrap();
    let bad = [
        good.replace(flow, ""),
        good.replace("flows", "flow"),
        format!("{good}more: 1\n"),
        good.replace("port: 80", "port: 80, ports: 1"),
        good.replace("port: 80", "port: 80, by: {egres: text}"),
        good.replace("It holds.", "''"),
    ];
    for text in bad {
        assert!(Case::read(&text).is_err(), "{text}");
    }
}
