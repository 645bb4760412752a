//! Batches that were fetched from the inbox, until workers have taken all of their tasks.

use crate::inbox::Batch;
use crate::service::Task;

/// A task in one of the fetched batches.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    batch: u32,
    index: u32,
}

/// Tasks of one batch that follow each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    batch: u32,
    from: u32,
    to: u32,
}

impl Span {
    pub(crate) fn len(&self) -> usize {
        (self.to - self.from) as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// The place of its first task.
    pub(crate) fn first(&self) -> Place {
        Place { batch: self.batch, index: self.from }
    }

    /// The place of its first task, which is no part of it from now on.
    pub(crate) fn take_first(&mut self) -> Place {
        let first = self.first();
        self.from += 1;
        first
    }
}

/// Batches that were fetched and have tasks that no worker has taken.
#[derive(Default)]
pub(crate) struct Batches {
    slots: Vec<Slot>,
    free: Vec<u32>,
    empty: Vec<Batch>,
}

#[derive(Default)]
struct Slot {
    batch: Batch,
    /// How many of its tasks nobody has taken.
    left: usize,
}

impl Batches {
    /// Keeps a batch; all of its tasks.
    pub(crate) fn add(&mut self, batch: Batch) -> Span {
        let to = batch.len() as u32;
        Span { batch: self.number_of(batch), from: 0, to }
    }

    fn number_of(&mut self, batch: Batch) -> u32 {
        let slot = Slot { left: batch.len(), batch };
        if let Some(number) = self.free.pop() {
            self.slots[number as usize] = slot;
            return number;
        }
        self.slots.push(slot);
        self.slots.len() as u32 - 1
    }

    /// The tasks of a span, `None` where a worker has taken one.
    pub(crate) fn tasks(&self, span: Span) -> &[Option<Task>] {
        &self.slots[span.batch as usize].batch[span.from as usize..span.to as usize]
    }

    pub(crate) fn task(&self, place: Place) -> &Task {
        let task = &self.slots[place.batch as usize].batch[place.index as usize];
        task.as_ref().expect("no worker has taken the task")
    }

    /// Moves a task to the end of a run.
    pub(crate) fn take(&mut self, place: Place, run: &mut Vec<Task>) {
        let slot = &mut self.slots[place.batch as usize];
        run.push(slot.batch[place.index as usize].take().expect("no worker has taken the task"));
        slot.left -= 1;
        if slot.left == 0 {
            let mut batch = std::mem::take(&mut slot.batch);
            batch.clear();
            self.empty.push(batch);
            self.free.push(place.batch);
        }
    }

    /// Batches that were used up, for the inbox.
    pub(crate) fn empty(&mut self) -> &mut Vec<Batch> {
        &mut self.empty
    }
}
