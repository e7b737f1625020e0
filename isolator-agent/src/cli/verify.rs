//! `isolator verify`: the kernel against what it should hold, by doing everything anew that the daemon did: read
//! the manifests, find the interfaces, compile, lay out. Nothing is written. Not here: the comparison
//! (`datapath::audit`).

use super::args::Global;
use super::output::{Screen, Tone};
use super::pinned::Pinned;
use super::{Exit, offline};
use crate::controller::Controller;
use crate::datapath::{audit, discover};
use anyhow::{Result, bail};
use isolator_policy::datapath::layout::{Capacities, Params};
use serde::Serialize;

/// Lines of differences for people; programs get all.
const SHOWN: usize = 50;

/// The comparison, as JSON.
#[derive(Debug, Serialize)]
struct View {
    /// Generation in force.
    generation: u32,
    /// Interfaces of pods.
    interfaces: usize,
    differences: Vec<String>,
}

/// Compares. [`Exit::Bad`] when anything differs.
pub(super) fn run(global: &Global, screen: &Screen) -> Result<Exit> {
    let Some(status) = offline::daemon(global)? else {
        bail!(
            "no daemon that reads manifests has run with {}: what should be in the kernel is not known here. One that \
             watches a cluster compares all the time: see `drift` of isolator status",
            global.run_dir.display()
        );
    };
    let (changes, problems) = offline::watched(&status)?;
    // A broken edit leaves the last good version in force, which nobody but the daemon knows.
    offline::warn(&problems, &[]);
    let image = Pinned::open(&global.pin_dir)?.image;
    let state = image.state;
    let params = Params {
        ticks_per_second: state.ticks_per_second,
        events_per_second: state.events_per_second,
        capacities: Capacities::default(),
    };
    let options = offline::options(&status);
    let mut controller = Controller::new(&status.node, options, params, image, status.permissive);
    for change in changes {
        controller.change(change);
    }
    controller.interfaces(discover::discover(&status.sandboxes)?.interfaces, Vec::new());
    let wanted = controller.plan()?.next;
    let interfaces = controller.enforced().into_iter().map(|interface| interface.ifindex).collect();
    let differences = audit::verify(&global.pin_dir, &wanted, &interfaces)?;
    let view = View {
        generation: state.generation,
        interfaces: interfaces.len(),
        differences: differences.iter().map(ToString::to_string).collect(),
    };
    screen.one(&view, |screen| prose(&view, screen))?;
    Ok(if view.differences.is_empty() { Exit::Good } else { Exit::Bad })
}

fn prose(view: &View, screen: &Screen) -> String {
    let View { generation, interfaces, differences } = view;
    if differences.is_empty() {
        let verdict = screen.paint(Tone::Good, "no difference");
        return format!(
            "{verdict}: {interfaces} interfaces, generation {generation}, are as they should be\n"
        );
    }
    let mut text: String =
        differences.iter().take(SHOWN).map(|difference| format!("{difference}\n")).collect();
    if differences.len() > SHOWN {
        text.push_str(&format!("… and {} more (-o json shows all)\n", differences.len() - SHOWN));
    }
    text.push_str(&screen.paint(Tone::Bad, &format!("{} differences\n", differences.len())));
    text
}
