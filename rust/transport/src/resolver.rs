//! Names to addresses, off the poll's thread, because a name server may take seconds to answer.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::link::LinkId;
use crate::waker::Waker;

/// What was found for one link's address.
pub(crate) struct Resolution {
    pub(crate) link: LinkId,
    pub(crate) addresses: io::Result<Vec<SocketAddr>>,
}

/// Asks the system's resolver. Its thread starts with the first name, and ends with the transport. Each link has at
/// most one question open.
pub(crate) struct Resolver {
    waker: Waker,
    questions: Option<Sender<(LinkId, String)>>,
    answers: (Sender<Resolution>, Receiver<Resolution>),
}

impl Resolver {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { waker, questions: None, answers: channel() }
    }

    /// Asks for `address`, `host:port`. The answer comes by [`Resolver::answer`] after the waker was used.
    pub(crate) fn ask(&mut self, link: LinkId, address: &str) -> io::Result<()> {
        let questions = match self.questions.take() {
            Some(questions) => questions,
            None => self.start()?,
        };
        // The thread ends only when this side's sender is dropped.
        questions.send((link, address.to_owned())).map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.questions = Some(questions);
        Ok(())
    }

    /// The next answer, if one is there.
    pub(crate) fn answer(&mut self) -> Option<Resolution> {
        self.answers.1.try_recv().ok()
    }

    fn start(&self) -> io::Result<Sender<(LinkId, String)>> {
        let (questions, asked) = channel::<(LinkId, String)>();
        let (answers, waker) = (self.answers.0.clone(), self.waker.clone());
        thread::Builder::new().name("pssmr-resolver".to_owned()).spawn(move || {
            for (link, address) in asked {
                let addresses = address.to_socket_addrs().map(Iterator::collect);
                if answers.send(Resolution { link, addresses }).is_err() {
                    return;
                }
                waker.wake();
            }
        })?;
        Ok(questions)
    }
}
