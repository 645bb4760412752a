//! Every chain of a run, as one tree: a node is a slot of a chain, and names the whole chain that ends there.

use std::collections::HashMap;

use pssmr_types::{ClusterId, Digest, Epoch, Slot, chain_digest, genesis};

/// A chain, by its last slot. The root is the empty chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Chain(u32);

#[derive(Debug)]
struct Node {
    slot: u64,
    parent: Chain,
    digest: Digest,
    label: u16,
}

/// The tree. It may outlive a run: what a chain is does not depend on when it was first seen.
#[derive(Debug)]
pub struct Chains {
    nodes: Vec<Node>,
    extensions: HashMap<(Chain, u16), Chain>,
    by_digest: HashMap<Digest, Chain>,
}

const CLUSTER: ClusterId = ClusterId([0; 16]);
const EPOCH: Epoch = Epoch(0);

/// Beyond this many nodes the tree starts afresh between two runs.
const NODES_MAX: usize = 200_000;

impl Default for Chains {
    fn default() -> Self {
        let root = Node { slot: 0, parent: Self::EMPTY, digest: genesis(CLUSTER), label: 0 };
        let by_digest = HashMap::from([(root.digest, Self::EMPTY)]);
        Self { nodes: vec![root], extensions: HashMap::new(), by_digest }
    }
}

impl Chains {
    /// The chain without slots.
    pub(super) const EMPTY: Chain = Chain(0);

    /// Forgets all chains if there are too many.
    pub(super) fn bound(&mut self) {
        if self.nodes.len() > NODES_MAX {
            *self = Self::default();
        }
    }

    /// The chain with one slot more, that of the batch `label`.
    pub(super) fn extend(&mut self, chain: Chain, label: u16) -> Chain {
        if let Some(known) = self.extensions.get(&(chain, label)) {
            return *known;
        }
        let slot = self.slot(chain) + 1;
        let batch = Digest::of("pssmr explorer batch", &label.to_le_bytes());
        let digest = chain_digest(CLUSTER, EPOCH, Slot(slot), self.digest(chain), batch);
        let extended = Chain(self.nodes.len() as u32);
        self.nodes.push(Node { slot, parent: chain, digest, label });
        self.extensions.insert((chain, label), extended);
        self.by_digest.insert(digest, extended);
        extended
    }

    /// The chain's last slot.
    pub(super) fn slot(&self, chain: Chain) -> u64 {
        self.nodes[chain.0 as usize].slot
    }

    /// The chain digest there.
    pub(super) fn digest(&self, chain: Chain) -> Digest {
        self.nodes[chain.0 as usize].digest
    }

    /// The chain with this digest, if somebody proposed it.
    pub(super) fn with_digest(&self, digest: Digest) -> Option<Chain> {
        self.by_digest.get(&digest).copied()
    }

    /// The part of the chain up to `slot`, which is not above its last one.
    pub(super) fn up_to(&self, mut chain: Chain, slot: u64) -> Chain {
        while self.slot(chain) > slot {
            chain = self.nodes[chain.0 as usize].parent;
        }
        chain
    }

    /// Whether `chain` begins with `prefix` (or is it).
    pub(super) fn extends(&self, chain: Chain, prefix: Chain) -> bool {
        self.slot(prefix) <= self.slot(chain) && self.up_to(chain, self.slot(prefix)) == prefix
    }

    /// The digests of the slots `first` to the last one.
    pub(super) fn digests_from(&self, mut chain: Chain, first: u64) -> Vec<Digest> {
        let mut digests = Vec::new();
        while self.slot(chain) >= first.max(1) {
            digests.push(self.digest(chain));
            chain = self.nodes[chain.0 as usize].parent;
        }
        digests.reverse();
        digests
    }

    /// The batches of the chain, as text.
    pub(super) fn show(&self, mut chain: Chain) -> String {
        let mut labels = Vec::new();
        while chain != Self::EMPTY {
            labels.push(self.nodes[chain.0 as usize].label.to_string());
            chain = self.nodes[chain.0 as usize].parent;
        }
        labels.reverse();
        format!("[{}]", labels.join(" "))
    }
}
