//! Equal labels of pods as one value: most pods are copies of others, and their labels are what takes most memory.
//! Pure. Not here: labels of other objects, of which there are few.

use isolator_policy::model::Labels;
use std::collections::HashSet;
use std::sync::Arc;

/// As many values as this are looked through for those that nobody has any more.
const FEW: usize = 1024;

/// The values that somebody has.
#[derive(Default)]
pub(super) struct Shared {
    values: HashSet<Arc<Labels>>,
    /// Looked through when there are this many.
    due: usize,
}

impl Shared {
    /// The value that equals this one, if anybody has it; otherwise this one.
    pub(super) fn share(&mut self, labels: Arc<Labels>) -> Arc<Labels> {
        if let Some(known) = self.values.get(&labels) {
            return Arc::clone(known);
        }
        if self.values.len() >= self.due.max(FEW) {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.due = self.values.len() * 2;
        }
        self.values.insert(Arc::clone(&labels));
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk(value: usize) -> Arc<Labels> {
        Arc::new(Labels::from([("app".to_owned(), value.to_string())]))
    }

    #[test]
    fn equal_labels_are_one_value_and_unused_ones_are_let_go() {
        let mut shared = Shared::default();
        let kept = shared.share(mk(0));
        assert!(Arc::ptr_eq(&kept, &shared.share(mk(0))));
        for value in 1..FEW * 3 {
            shared.share(mk(value));
        }
        assert!(shared.values.len() <= FEW, "{}", shared.values.len());
        assert!(Arc::ptr_eq(&kept, &shared.share(mk(0))));
    }
}
