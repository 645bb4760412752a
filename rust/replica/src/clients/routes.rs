//! Which link a session's replies go to: the one that last carried a request of it.

use std::collections::{HashMap, VecDeque};

use pssmr_transport::LinkId;
use pssmr_types::{ClientId, Operation, Principal, Request};

/// Most sessions, and most openings of sessions, that one link is remembered for. The oldest goes first.
const PER_LINK_MAX: usize = 64;

/// Where a session's replies go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route<L = LinkId> {
    pub(crate) link: L,
    /// Replies up to this sequence are wanted whole.
    pub(crate) full_through: u64,
}

#[derive(Debug, Default)]
struct OfLink {
    sessions: VecDeque<ClientId>,
    openings: VecDeque<(Principal, u64)>,
}

/// Links by session.
#[derive(Debug)]
pub(crate) struct Routes<L = LinkId> {
    sessions: HashMap<ClientId, Route<L>>,
    /// A session that is being opened has no number yet, but a nonce.
    openings: HashMap<(Principal, u64), L>,
    links: HashMap<L, OfLink>,
    /// The session that last carried a request, if its route is still that link.
    last: Option<(ClientId, L)>,
}

impl<L> Default for Routes<L> {
    fn default() -> Self {
        Self { sessions: HashMap::new(), openings: HashMap::new(), links: HashMap::new(), last: None }
    }
}

impl<L: Copy + Eq + std::hash::Hash> Routes<L> {
    /// `link` has carried a request.
    pub(crate) fn carry(&mut self, link: L, request: &Request, full_replies: bool) {
        if request.operation == Operation::OpenSession {
            self.open(link, (request.client.principal, request.sequence));
            return;
        }
        // Most requests follow another one of the same session.
        if self.last != Some((request.client, link)) {
            if self.sessions.get(&request.client).is_none_or(|route| route.link != link) {
                self.route(request.client, link);
            }
            self.last = Some((request.client, link));
        }
        if full_replies && let Some(route) = self.sessions.get_mut(&request.client) {
            route.full_through = route.full_through.max(request.sequence);
        }
    }

    /// Where the replies to a session's requests go.
    pub(crate) fn of(&self, client: ClientId) -> Option<Route<L>> {
        self.sessions.get(&client).copied()
    }

    /// Where the reply to the opening of a session goes.
    pub(crate) fn of_opening(&self, principal: Principal, nonce: u64) -> Option<L> {
        self.openings.get(&(principal, nonce)).copied()
    }

    /// A session was opened: whoever asked for it will use it.
    pub(crate) fn opened(&mut self, principal: Principal, nonce: u64, session: u64) {
        let Some(link) = self.openings.remove(&(principal, nonce)) else { return };
        if let Some(of_link) = self.links.get_mut(&link) {
            of_link.openings.retain(|opening| *opening != (principal, nonce));
        }
        self.route(ClientId { principal, session }, link);
    }

    pub(crate) fn link_down(&mut self, link: L) {
        let Some(of_link) = self.links.remove(&link) else { return };
        for client in of_link.sessions {
            self.forget(client, link);
        }
        for opening in of_link.openings {
            if self.openings.get(&opening) == Some(&link) {
                self.openings.remove(&opening);
            }
        }
    }

    fn route(&mut self, client: ClientId, link: L) {
        self.last = None;
        let full_through = self.sessions.get(&client).map_or(0, |route| route.full_through);
        if let Some(before) = self.sessions.insert(client, Route { link, full_through })
            && before.link != link
            && let Some(of_link) = self.links.get_mut(&before.link)
        {
            of_link.sessions.retain(|session| *session != client);
        }
        let of_link = self.links.entry(link).or_default();
        of_link.sessions.push_back(client);
        if of_link.sessions.len() > PER_LINK_MAX
            && let Some(oldest) = of_link.sessions.pop_front()
        {
            self.forget(oldest, link);
        }
    }

    fn open(&mut self, link: L, opening: (Principal, u64)) {
        if let Some(before) = self.openings.insert(opening, link)
            && let Some(of_link) = self.links.get_mut(&before)
        {
            of_link.openings.retain(|known| *known != opening);
        }
        let of_link = self.links.entry(link).or_default();
        of_link.openings.push_back(opening);
        if of_link.openings.len() > PER_LINK_MAX
            && let Some(oldest) = of_link.openings.pop_front()
        {
            self.openings.remove(&oldest);
        }
    }

    fn forget(&mut self, client: ClientId, link: L) {
        self.last = None;
        if self.sessions.get(&client).is_some_and(|route| route.link == link) {
            self.sessions.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Principal = Principal(1);

    fn command(session: u64, sequence: u64) -> Request {
        Request::new(ClientId { principal: ANN, session }, sequence, 1, Operation::Command, b"")
    }

    fn opening(nonce: u64) -> Request {
        Request::new(ClientId { principal: ANN, session: 0 }, nonce, 0, Operation::OpenSession, b"")
    }

    fn client(session: u64) -> ClientId {
        ClientId { principal: ANN, session }
    }

    fn link_of(routes: &Routes<char>, session: u64) -> Option<char> {
        routes.of(client(session)).map(|route| route.link)
    }

    #[test]
    fn replies_go_to_the_link_that_last_carried_the_session() {
        let mut routes = Routes::default();
        routes.carry('a', &command(5, 1), false);
        routes.carry('b', &command(6, 1), false);
        assert_eq!(link_of(&routes, 5), Some('a'));
        assert_eq!(link_of(&routes, 6), Some('b'));
        routes.carry('b', &command(5, 2), false);
        assert_eq!(link_of(&routes, 5), Some('b'));
        assert_eq!(link_of(&routes, 7), None);
    }

    #[test]
    fn the_end_of_an_old_link_does_not_end_the_new_one() {
        let mut routes = Routes::default();
        routes.carry('a', &command(5, 1), false);
        routes.carry('b', &command(5, 1), false);
        routes.link_down('a');
        assert_eq!(link_of(&routes, 5), Some('b'));
        routes.link_down('b');
        assert_eq!(link_of(&routes, 5), None);
        assert!(routes.sessions.is_empty() && routes.links.is_empty());
    }

    #[test]
    fn two_links_of_one_key_open_sessions_at_once() {
        let mut routes = Routes::default();
        routes.carry('a', &opening(100), false);
        routes.carry('b', &opening(200), false);
        assert_eq!(routes.of_opening(ANN, 100), Some('a'));
        assert_eq!(routes.of_opening(ANN, 200), Some('b'));
        routes.opened(ANN, 200, 9);
        assert_eq!(link_of(&routes, 9), Some('b'), "results can come before this link's first request");
        assert_eq!(routes.of_opening(ANN, 200), None);
    }

    #[test]
    fn whole_replies_are_sent_where_they_were_asked_for() {
        let mut routes = Routes::default();
        routes.carry('a', &command(5, 1), false);
        routes.carry('a', &command(5, 2), true);
        routes.carry('a', &command(5, 3), false);
        assert_eq!(routes.of(client(5)), Some(Route { link: 'a', full_through: 2 }));
    }

    #[test]
    fn what_a_link_is_remembered_for_is_bounded() {
        let mut routes = Routes::default();
        for number in 1..=2 * PER_LINK_MAX as u64 {
            routes.carry('a', &command(number, 1), false);
            routes.carry('a', &opening(number), false);
        }
        assert_eq!(routes.sessions.len(), PER_LINK_MAX);
        assert_eq!(routes.openings.len(), PER_LINK_MAX);
        assert_eq!(link_of(&routes, 1), None);
        assert_eq!(link_of(&routes, 2 * PER_LINK_MAX as u64), Some('a'));
    }
}
