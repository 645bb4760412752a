//! An input as a tape of choices: where bytes as they are would get no further than the first check, the fuzzer's bytes
//! choose between things that make sense.

/// Reads choices off an input. At its end every choice is 0.
#[derive(Debug)]
pub(crate) struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// A number below `end`, which is not 0 and at most 256.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number of any size, mostly small.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=199 => u64::from(small),
            200..=239 => u64::from(self.byte()) << 8 | u64::from(self.byte()),
            240..=247 => u64::MAX - u64::from(self.byte()),
            248..=251 => u64::MAX / 2 + u64::from(self.byte()),
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    /// A number near `known`, or anywhere.
    pub(crate) fn near(&mut self, known: u64) -> u64 {
        match self.byte() {
            0..=79 => known,
            80..=119 => known.saturating_add(1),
            120..=149 => known.saturating_sub(1),
            150..=189 => known.saturating_add(u64::from(self.byte())),
            190..=219 => known.saturating_sub(u64::from(self.byte())),
            _ => self.number(),
        }
    }

    /// At most so many of the next bytes.
    pub(crate) fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(most.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}
