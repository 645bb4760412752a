//! From the ordered bytes of a command to its footprint, without an interpreter.
//!
//! A payload is `u8 length of the name ‖ name ‖ MessagePack array of arguments`. All of it is checked here, so that
//! every replica refuses the same payloads, before anything runs.

use bytes::Bytes;

use crate::declaration::{CommandSpec, DeclarationError, MAX_NAME_LENGTH, ScopeDeclaration, Step, check_all};
use crate::footprint::FootprintBuilder;
use crate::key::KeyError;
use crate::messagepack::{self, Malformed, Reader, Token};
use crate::service::Extraction;

/// The most keys that one array can give: the scheduler looks at each.
pub const ELEMENT_KEYS_MAX: u32 = 4096;

/// Why a command is not executed. The same on every replica: it depends on the payload and the declarations alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The payload has no name, or no array of arguments, or malformed ones.
    #[error("malformed payload: {0}")]
    Malformed(&'static str),
    /// No command has this name.
    #[error("unknown command")]
    UnknownCommand,
    /// Too few or too many arguments.
    #[error("takes {required} to {most} arguments, not {given}")]
    ArgumentCount {
        /// How many must be given.
        required: usize,
        /// How many can be given.
        most: usize,
        /// How many were given.
        given: usize,
    },
    /// The argument from which a key is to be taken has no such field, or has a kind of value that is no key.
    #[error("argument {argument}: {problem}")]
    Key {
        /// The argument, from 0.
        argument: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An argument is not of the type that the service declares.
    #[error("{0}")]
    Argument(String),
    /// The service could not compute the footprint.
    #[error("the footprint could not be computed: {0}")]
    Footprint(String),
    /// A request of too many operations, or a transaction that touches too much.
    #[error("{0}")]
    TooLarge(&'static str),
    /// The service can't undo what an operation of a transaction has changed.
    #[error("the service has no transactions")]
    NoTransactions,
    /// An operation of a transaction is refused.
    #[error("operation {place}: {refusal}")]
    Operation {
        /// Which one, from 0.
        place: u32,
        /// Why.
        refusal: Box<Refusal>,
    },
    /// A read of what is no query, or of one that needs its place in the order.
    #[error("it has to be ordered")]
    MustBeOrdered,
}

impl Refusal {
    /// The code of this refusal in replies.
    pub fn code(&self) -> u8 {
        match self {
            Self::Malformed(_) => 1,
            Self::UnknownCommand => 2,
            Self::ArgumentCount { .. } => 3,
            Self::Key { .. } => 4,
            Self::Footprint(_) => 5,
            Self::Argument(_) => 6,
            Self::TooLarge(_) => 7,
            Self::NoTransactions => 8,
            Self::MustBeOrdered => 9,
            Self::Operation { refusal, .. } => refusal.code(),
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(problem: Malformed) -> Self {
        Self::Malformed(match problem {
            Malformed::CutShort => "the value is cut short",
            Malformed::Trailing => "bytes follow the arguments",
            Malformed::InvalidType => "an invalid type byte",
            Malformed::NotUtf8 => "a string is not UTF-8",
            Malformed::TooDeep => "arrays and maps nest too deep",
        })
    }
}

/// A service's commands by name, with the extractor of each one's footprint.
#[derive(Debug)]
pub struct CommandTable {
    commands: Vec<CommandSpec>,
    /// The commands by the length of their names: few share it, and to compare them is quicker than to hash.
    by_name_length: Vec<Vec<u32>>,
}

impl CommandTable {
    /// A table of these commands. A command's index is its place in the list.
    ///
    /// # Errors
    /// The first declaration that makes no sense.
    pub fn new(commands: Vec<CommandSpec>) -> Result<Self, DeclarationError> {
        check_all(&commands)?;
        let mut by_name_length = vec![Vec::new(); MAX_NAME_LENGTH + 1];
        for (index, command) in (0..).zip(&commands) {
            by_name_length[command.name.len()].push(index);
        }
        Ok(Self { commands, by_name_length })
    }

    /// The commands, in order of their index.
    pub fn commands(&self) -> &[CommandSpec] {
        &self.commands
    }

    /// Whether the command with this index changes nothing.
    ///
    /// # Panics
    /// If there is none.
    pub fn is_query(&self, index: u32) -> bool {
        self.commands[index as usize].query
    }

    /// The index of the command with this name.
    pub fn index_of(&self, name: &str) -> Option<u32> {
        self.find(name.as_bytes())
    }

    fn find(&self, name: &[u8]) -> Option<u32> {
        let candidates = self.by_name_length.get(name.len())?;
        candidates.iter().copied().find(|index| self.commands[*index as usize].name.as_bytes() == name)
    }

    /// Extracts the footprint of a payload into `out`. All of the payload is checked.
    ///
    /// # Errors
    /// [`Refusal`]: the first thing that is wrong. What `out` holds is then of no use.
    pub fn extract(&self, payload: &[u8], out: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
        let mut reader = Reader::new(payload);
        let length = reader.take(1).map_err(|_| Refusal::Malformed("no name"))?[0];
        let name = reader.take(usize::from(length)).map_err(|_| Refusal::Malformed("the name is cut short"))?;
        let index = self.find(name).ok_or(Refusal::UnknownCommand)?;
        let command = &self.commands[index as usize];
        extract_keys(command, &mut reader, out)?;
        reader.finish()?;
        for scope in &command.scopes {
            match *scope {
                ScopeDeclaration::Nothing => {}
                ScopeDeclaration::ReadAll => out.read_all(),
                ScopeDeclaration::Exclusive => out.exclusive(),
                ScopeDeclaration::Table(table, mode) => out.table(table, mode),
            }
        }
        if command.is_undeclared() {
            if command.query { out.read_all() } else { out.exclusive() }
        }
        Ok(Extraction { handler: index, deferred: command.callable })
    }
}

/// Reads the array of arguments, and adds the keys that are declared of them.
fn extract_keys(command: &CommandSpec, reader: &mut Reader<'_>, out: &mut FootprintBuilder) -> Result<(), Refusal> {
    let Token::Array(given) = reader.token()? else {
        return Err(Refusal::Malformed("the arguments are not an array"));
    };
    let (given, required, most) = (given as usize, command.required_arguments(), command.arguments.len());
    if given < required || given > most {
        return Err(Refusal::ArgumentCount { required, most, given });
    }
    for (index, argument) in command.arguments.iter().enumerate() {
        let mut keys = command.keys.iter().filter(|key| key.argument == index);
        // Most keys are a whole argument, and are read once. If that fails, it is found out below what is wrong.
        if let (Some(key), None) = (keys.next(), keys.next())
            && key.path.is_empty()
            && index < given
            && out.next_key(key.table, reader, key.mode).is_ok()
        {
            continue;
        }
        let value = if index < given { reader.value()? } else { argument.default.as_deref().unwrap_or_default() };
        for key in command.keys.iter().filter(|key| key.argument == index) {
            let refuse = |problem| Refusal::Key { argument: index, problem };
            let (each, path) = match key.path.split_last() {
                Some((Step::Each, path)) => (true, path),
                _ => (false, &key.path[..]),
            };
            let place = find(value, path).map_err(refuse)?;
            let mut claim = |place| out.key_value(key.table, place, key.mode).map_err(key_problem);
            if each { for_each_element(place, claim) } else { claim(place) }.map_err(refuse)?;
        }
    }
    Ok(())
}

/// Calls `claim` with each element of the array `value`.
fn for_each_element<'a>(
    value: &'a [u8],
    mut claim: impl FnMut(&'a [u8]) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let mut reader = Reader::new(value);
    let length = match reader.token() {
        Ok(Token::Array(length)) if length <= ELEMENT_KEYS_MAX => length,
        Ok(Token::Array(_)) => return Err("too many keys"),
        _ => return Err("not of the declared structure"),
    };
    for _ in 0..length {
        claim(reader.value().map_err(|_| "malformed")?)?;
    }
    Ok(())
}

fn key_problem(error: KeyError) -> &'static str {
    match error {
        KeyError::TooLong => "the key is too long",
        KeyError::TooDeep => "the key nests too deep",
        KeyError::Kind | KeyError::Malformed(_) | KeyError::NotAKey => "not a value that can be a key",
    }
}

/// The value at the end of `path` in `value`. A map must not have the field twice: a decoder might see the other one.
fn find<'a>(value: &'a [u8], path: &[Step]) -> Result<&'a [u8], &'static str> {
    const MALFORMED: &str = "malformed";
    let mut place = value;
    for step in path {
        let mut reader = Reader::new(place);
        let mut found = None;
        match (step, reader.token().map_err(|_| MALFORMED)?) {
            (Step::Index(wanted), Token::Array(length)) => {
                for index in 0..length.min(wanted.saturating_add(1)) {
                    let element = reader.value().map_err(|_| MALFORMED)?;
                    if index == *wanted {
                        found = Some(element);
                    }
                }
            }
            (Step::Field(wanted), Token::Map(length)) => {
                for _ in 0..length {
                    let name = reader.value().map_err(|_| MALFORMED)?;
                    let field = reader.value().map_err(|_| MALFORMED)?;
                    if Reader::new(name).token() == Ok(Token::Str(wanted)) && found.replace(field).is_some() {
                        return Err("a field is there twice");
                    }
                }
            }
            _ => return Err("not of the declared structure"),
        }
        place = found.ok_or("a field is missing")?;
    }
    Ok(place)
}

/// A reader at the first argument of a payload that a [`CommandTable`] has accepted. An empty one for any other.
pub fn arguments_of(payload: &[u8]) -> Reader<'_> {
    let start = payload.first().map_or(0, |length| 1 + usize::from(*length));
    let mut reader = Reader::new(payload.get(start..).unwrap_or_default());
    match reader.token() {
        Ok(Token::Array(_)) => reader,
        _ => Reader::new(&[]),
    }
}

/// The payload that calls `name` with arguments that are each one `MessagePack` value.
///
/// # Panics
/// If the name is longer than 255 bytes.
pub fn payload(name: &str, arguments: &[&[u8]]) -> Bytes {
    let mut out = Vec::with_capacity(1 + name.len() + 5 + arguments.iter().map(|a| a.len()).sum::<usize>());
    out.push(u8::try_from(name.len()).expect("a command's name has at most 255 bytes"));
    out.extend_from_slice(name.as_bytes());
    messagepack::write_array(&mut out, u32::try_from(arguments.len()).expect("below 2^32 arguments"));
    for argument in arguments {
        out.extend_from_slice(argument);
    }
    Bytes::from(out)
}
