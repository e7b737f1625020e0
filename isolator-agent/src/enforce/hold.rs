//! When pods may start after a boot: once everything that is known is in the kernel, and from then on. Not here: how they
//! are held (`boot`).

use super::Enforcer;

impl Enforcer {
    /// Lets pods start, where they are to be held at a boot. Before the first plan is written nothing happens, whatever
    /// goes wrong: they wait.
    pub fn let_pods_start(&mut self) {
        let Some(gate) = &mut self.gate else { return };
        if !self.status.synced {
            return;
        }
        let not_held = gate.open().err().map(|why| why.problem(&self.config.node));
        if not_held != self.not_held {
            self.not_held = not_held;
            self.say();
            self.report();
        }
    }
}
