//! What this replica wrote, view by view: its half of the evidence from which a new leader's base is chosen.

use pssmr_types::states::WRITESET_VIEWS_MAX;
use pssmr_types::{Slot, View, Written};

use crate::chain::Chain;

/// The writeset. One entry a view, ascending.
///
/// It is kept small by two rules, both explored together with the choice: an entry's slots below the last one decided
/// are trimmed (so a slot below `first` is decided here), and when something is decided *in* a view, the entries of
/// older views go: then so many correct replicas hold a lock of that view or a higher one that a lock of an older view
/// can never be chosen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writeset {
    views: Vec<Written>,
}

impl Writeset {
    /// The entries.
    pub(crate) fn entries(&self) -> &[Written] {
        &self.views
    }

    /// Takes over entries from before a restart.
    pub(crate) fn restore(&mut self, entries: &[Written]) {
        self.views = entries.to_vec();
    }

    /// Whether there is room to write in `view`.
    pub(crate) fn has_room(&self, view: View) -> bool {
        self.views.len() < WRITESET_VIEWS_MAX || self.views.last().is_some_and(|written| written.view == view)
    }

    /// The replica writes its chain up to `slot`, in `view`, whose base is `base`.
    pub(crate) fn write(&mut self, view: View, base: Slot, slot: Slot, chain: &Chain) {
        if self.views.last().is_none_or(|written| written.view != view) {
            assert!(self.views.last().is_none_or(|written| written.view < view), "views only go up");
            self.views.push(Written { view, base, first: Slot(0), digests: Vec::new() });
        }
        let written = self.views.last_mut().expect("just added");
        // The chain may have been replaced below by decided slots that were fetched, so it is read anew.
        let first = chain.decided().max(Slot(1)).min(slot);
        written.base = base;
        written.first = first;
        written.digests.clear();
        for number in first.0..=slot.0 {
            written.digests.push(chain.digest_at(Slot(number)).expect("what is written is on the chain"));
        }
    }

    /// Everything up to `slot` is decided; by votes of `view`, if it is known.
    pub(crate) fn decided(&mut self, slot: Slot, view: Option<View>) {
        if let Some(view) = view {
            self.views.retain(|written| written.view >= view);
        }
        for written in &mut self.views {
            let first = slot.min(written.last());
            if first > written.first {
                written.digests.drain(..(first.0 - written.first.0) as usize);
                written.first = first;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Link;
    use pssmr_types::{Batch, Digest};

    fn chain(slots: u8, decided: u8) -> Chain {
        let mut chain = Chain::new(Digest([0; 32]));
        for letter in 1..=slots {
            chain.push(Link {
                digest: Digest([letter; 32]),
                batch: Batch::new(0, vec![]),
                unproven: 0,
                may_end_epoch: false,
            });
        }
        for _ in 0..decided {
            chain.decide_next();
        }
        chain
    }

    #[test]
    fn an_entry_reaches_down_to_the_last_slot_decided() {
        let mut writeset = Writeset::default();
        writeset.write(View(0), Slot(0), Slot(6), &chain(6, 3));
        let entry = &writeset.entries()[0];
        assert_eq!((entry.first, entry.last()), (Slot(3), Slot(6)));
        assert_eq!(entry.digest_at(Slot(3)), Some(Digest([3; 32])));
        writeset.decided(Slot(5), None);
        assert_eq!(writeset.entries()[0].first, Slot(5));
        writeset.decided(Slot(9), None);
        assert_eq!((writeset.entries()[0].first, writeset.entries()[0].last()), (Slot(6), Slot(6)));
    }

    #[test]
    fn a_decision_in_a_view_ends_the_older_ones() {
        let mut writeset = Writeset::default();
        writeset.write(View(0), Slot(0), Slot(2), &chain(2, 0));
        writeset.write(View(3), Slot(1), Slot(2), &chain(2, 0));
        writeset.decided(Slot(1), None);
        assert_eq!(writeset.entries().len(), 2);
        writeset.decided(Slot(2), Some(View(3)));
        assert_eq!(writeset.entries().iter().map(|w| w.view).collect::<Vec<_>>(), [View(3)]);
    }
}
