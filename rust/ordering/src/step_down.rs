//! A leader gives up its view because its operator wants that: before its machine is restarted, say.
//!
//! It says Stop, as it might at any time, and a Stop of the leader itself is enough for the others. Nobody else gains
//! anything by the input: it makes no other replica's Stop weigh more.

use pssmr_types::PeerMessage;
use pssmr_types::peer::FORWARD_MAX;

use crate::core::{Core, Phase};
use crate::interface::{Effect, Event, StepDownRefusal};

impl Core {
    /// The operator wants another leader. This one proposes nothing more in its view, and says Stop: to the others that is
    /// reason enough. What is open is decided on the way, or in the next view.
    pub(crate) fn on_step_down(&mut self, effects: &mut Vec<Effect>) {
        let leader = self.leader();
        let refusal = if leader != self.me {
            Some(StepDownRefusal::NotLeading { leader })
        } else if self.membership.members().len() == 1 {
            Some(StepDownRefusal::Alone)
        } else if self.phase != Phase::Active || !self.may_lead() || self.waits_for_newborn() {
            Some(StepDownRefusal::NotNow)
        } else {
            None
        };
        let view = self.view.next();
        effects.push(Effect::SteppedDown(refusal.map_or(Ok(view), Err)));
        if refusal.is_none() {
            self.change.given_up = Some(self.view);
            self.wish_for(view, Event::SteppingDown { view }, effects);
        }
    }

    /// What only this replica may have, since it led when clients sent it, goes to the new leader at once.
    pub(crate) fn pass_on_pending(&mut self, effects: &mut Vec<Effect>) {
        let leader = self.leader();
        if self.change.given_up.take().is_none() || leader == self.me || self.quorums.must_authenticate_requests() {
            return;
        }
        loop {
            let requests = self.pool.take_to_forward(self.now.monotonic, FORWARD_MAX, self.config.limits.bytes_max);
            if requests.is_empty() {
                return;
            }
            effects.push(Effect::Send { to: leader, message: PeerMessage::Forward(requests) });
        }
    }
}
