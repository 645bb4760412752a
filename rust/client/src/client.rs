//! The handle that threads use.

use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;
use pssmr_transport::{Transport, TransportConfig, Waker};
use pssmr_types::Membership;

use crate::completion::CompletionSink;
use crate::config::ClientConfig;
use crate::driver::{Driver, Greeting};
use crate::error::{ConnectError, SubmitError};
use crate::inbox::{Shared, Submission, Work};
use crate::links::Links;
use crate::requester::Requester;
use crate::status::ClientStatus;

/// The application protocol of links between clients and replicas.
const ALPN: &[u8] = b"pssmr-client/1";

/// What a frame has beside its payloads or results.
const FRAME_MARGIN_BYTES: usize = 4 << 20;

/// A client of a cluster. Any thread may use it; it has one of its own.
///
/// Dropping it closes it.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    waker: Waker,
    thread: Mutex<Option<JoinHandle<()>>>,
    payload_bytes_max: usize,
}

impl Client {
    /// Starts a client. It returns at once: links come up and the session is opened behind it, and what is submitted
    /// meanwhile waits.
    ///
    /// # Errors
    /// [`ConnectError`], never for a replica that can't be reached: [`Client::status`] tells about those.
    pub fn connect(config: &ClientConfig, sink: impl CompletionSink) -> Result<Self, ConnectError> {
        config.check()?;
        let mut transport_config = TransportConfig::new(config.secret.clone(), ALPN);
        let frame_bytes_max = config.payload_bytes_max.max(config.result_bytes_max) + FRAME_MARGIN_BYTES;
        transport_config.frame_bytes_max = frame_bytes_max;
        transport_config.send_queue_bytes_max = (4 * frame_bytes_max).max(64 << 20);
        let mut transport = Transport::new(transport_config)?;
        let links = Links::dial(&mut transport, &config.membership)?;
        let shared = Shared::new(config.membership.clone(), config.requests_max, config.requests_bytes_max);
        let shared = Arc::new(shared);
        let greeting = Greeting { agreed_settings: config.agreed_settings, result_bytes_max: config.result_bytes_max };
        let requester = Requester::new(config, Box::new(nonce));
        let waker = transport.waker();
        let driver = Driver::new(transport, links, requester, greeting, Arc::clone(&shared), Box::new(sink));
        let thread = std::thread::Builder::new()
            .name("pssmr-client".to_owned())
            .spawn(move || driver.run())
            .map_err(ConnectError::Thread)?;
        Ok(Self { shared, waker, thread: Mutex::new(Some(thread)), payload_bytes_max: config.payload_bytes_max })
    }

    /// Submits one command; its completion carries `token`.
    ///
    /// # Errors
    /// [`SubmitError`]: then there is no completion.
    pub fn submit(&self, token: u64, payload: impl Into<Bytes>) -> Result<(), SubmitError> {
        self.submit_many(&mut vec![Submission {
            token,
            work: Work::Command(payload.into()),
            timeout: None,
            trace: None,
        }])
    }

    /// Submits from the front of `submissions`, which leave together as far as there is room. What is not taken stays
    /// in it.
    ///
    /// # Errors
    /// [`SubmitError`], if anything stays.
    pub fn submit_many(&self, submissions: &mut Vec<Submission>) -> Result<(), SubmitError> {
        let refused = submissions.iter().position(|submission| self.check(submission).is_err());
        let Some(refused) = refused else { return self.pass_on(submissions) };
        let error = self.check(&submissions[refused]);
        let rest = submissions.split_off(refused);
        let passed_on = self.pass_on(submissions);
        submissions.extend(rest);
        passed_on.and(error)
    }

    /// How the client is. What it says of requests may be some milliseconds old.
    pub fn status(&self) -> ClientStatus {
        self.shared.status.lock().clone()
    }

    /// The newest membership that the client knows: the configured one, or one after it that k replicas have proved.
    pub fn membership(&self) -> Arc<Membership> {
        Arc::clone(&self.shared.membership.lock())
    }

    /// Ends the client: what is under way completes with [`RequestError::Closed`](crate::RequestError::Closed), and
    /// its thread has ended when this returns. From a completion sink it only begins the end.
    pub fn close(&self) {
        self.shared.close();
        self.waker.wake();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the client's thread panicked");
        }
    }

    fn pass_on(&self, submissions: &mut Vec<Submission>) -> Result<(), SubmitError> {
        if submissions.is_empty() {
            return Ok(());
        }
        let before = submissions.len();
        let handed_over = self.shared.submit(submissions);
        if submissions.len() < before {
            self.waker.wake();
        }
        handed_over
    }

    fn check(&self, submission: &Submission) -> Result<(), SubmitError> {
        match &submission.work {
            Work::Command(payload) | Work::Read(payload) | Work::Reconfigure(payload) | Work::Upgrade(payload)
                if payload.len() > self.payload_bytes_max =>
            {
                Err(SubmitError::RequestTooLarge { bytes: payload.len(), bytes_max: self.payload_bytes_max })
            }
            Work::Status(replica) if !self.membership().contains(*replica) => Err(SubmitError::NoSuchReplica),
            _ => Ok(()),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
    }
}

fn nonce() -> u64 {
    getrandom::u64().expect("the operating system has random numbers")
}
