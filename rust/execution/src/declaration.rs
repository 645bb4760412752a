//! Declarations: which commands a service has, and what each one touches.
//!
//! A declaration is made once, when the service is loaded. [`crate::extract::CommandTable`] turns declarations into
//! an extractor of footprints that needs no interpreter.

use std::collections::HashSet;

use bytes::Bytes;

use crate::footprint::{Mode, TableId};

/// The longest name of a command, in bytes: the payload gives its length in one byte.
pub const MAX_NAME_LENGTH: usize = u8::MAX as usize;

/// The most arguments that a command can have.
pub const MAX_ARGUMENTS: usize = 255;

/// One command of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandSpec {
    /// The name that requests call it by: 1 to [`MAX_NAME_LENGTH`] bytes.
    pub name: String,
    /// Whether it changes nothing. A query may declare only reads.
    pub query: bool,
    /// Its arguments, in order. Those with a default come last.
    pub arguments: Vec<ArgumentSpec>,
    /// The keys that it touches.
    pub keys: Vec<KeyDeclaration>,
    /// What it touches beside keys.
    pub scopes: Vec<ScopeDeclaration>,
    /// Whether the service itself computes the footprint, see [`crate::service::Service::compute_footprint`]. What
    /// `keys` and `scopes` say then counts in addition.
    pub callable: bool,
}

/// One argument of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArgumentSpec {
    /// Its name, for error messages.
    pub name: String,
    /// The `MessagePack` value that stands for the argument where a request leaves it out; `None`: it can't be left out.
    pub default: Option<Bytes>,
}

/// A key that a command touches: the value of an argument, or of a field inside of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDeclaration {
    /// The argument, from 0.
    pub argument: usize,
    /// The way from the argument to the key; empty if the argument itself is the key.
    pub path: Vec<Step>,
    /// The key's table.
    pub table: TableId,
    /// How the key is touched.
    pub mode: Mode,
}

/// One step into a structured argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The value of this key of a map.
    Field(String),
    /// The element of an array at this index, from 0.
    Index(u32),
    /// Every element of an array: each is a key. The last step only.
    Each,
}

/// What a command touches beside keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeDeclaration {
    /// No state at all.
    Nothing,
    /// All state, reading it.
    ReadAll,
    /// Possibly all state.
    Exclusive,
    /// A whole table.
    Table(TableId, Mode),
}

/// Why declarations are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("command {command:?}: {problem}")]
pub struct DeclarationError {
    /// The command's name.
    pub command: String,
    /// What is wrong with it.
    pub problem: DeclarationProblem,
}

/// What is wrong with a declaration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeclarationProblem {
    /// The name is empty or too long.
    #[error("a name has 1 to {MAX_NAME_LENGTH} bytes")]
    NameLength,
    /// Another command has the same name.
    #[error("declared twice")]
    Duplicate,
    /// Too many arguments.
    #[error("more than {MAX_ARGUMENTS} arguments")]
    TooManyArguments,
    /// An argument without a default follows one that has one.
    #[error("argument {0:?} has no default but follows one that has")]
    DefaultsNotLast(String),
    /// Each element of an array is taken before the way to the key has ended.
    #[error("the way to a key of argument {0} goes on after each element")]
    StepsAfterEach(usize),
    /// A default is not one `MessagePack` value.
    #[error("the default of argument {0:?} is not one MessagePack value")]
    MalformedDefault(String),
    /// A key of an argument that is not there.
    #[error("a key is declared of argument {0}, which does not exist")]
    NoSuchArgument(usize),
    /// A query declares to change something.
    #[error("a query may only read")]
    QueryWrites,
    /// `Nothing` beside other declarations.
    #[error("declared to touch nothing, and to touch something")]
    NothingAndSomething,
}

impl CommandSpec {
    /// The number of arguments that a request must give at least.
    pub fn required_arguments(&self) -> usize {
        self.arguments.iter().take_while(|argument| argument.default.is_none()).count()
    }

    /// Whether nothing is declared about what the command touches. It may then touch anything: a command is exclusive,
    /// a query reads all. Safe first; declare to make it parallel.
    pub fn is_undeclared(&self) -> bool {
        self.keys.is_empty() && self.scopes.is_empty() && !self.callable
    }

    /// Checks this declaration by itself.
    pub(crate) fn check(&self) -> Result<(), DeclarationProblem> {
        if self.name.is_empty() || self.name.len() > MAX_NAME_LENGTH {
            return Err(DeclarationProblem::NameLength);
        }
        if self.arguments.len() > MAX_ARGUMENTS {
            return Err(DeclarationProblem::TooManyArguments);
        }
        if let Some(late) = self.arguments[self.required_arguments()..].iter().find(|a| a.default.is_none()) {
            return Err(DeclarationProblem::DefaultsNotLast(late.name.clone()));
        }
        for argument in &self.arguments {
            if argument.default.as_ref().is_some_and(|default| !is_one_value(default)) {
                return Err(DeclarationProblem::MalformedDefault(argument.name.clone()));
            }
        }
        if let Some(key) = self.keys.iter().find(|key| key.argument >= self.arguments.len()) {
            return Err(DeclarationProblem::NoSuchArgument(key.argument));
        }
        let goes_on = |key: &&KeyDeclaration| key.path.iter().rev().skip(1).any(|step| *step == Step::Each);
        if let Some(key) = self.keys.iter().find(goes_on) {
            return Err(DeclarationProblem::StepsAfterEach(key.argument));
        }
        let changes = |scope: &ScopeDeclaration| match scope {
            ScopeDeclaration::Nothing | ScopeDeclaration::ReadAll => false,
            ScopeDeclaration::Exclusive => true,
            ScopeDeclaration::Table(_, mode) => *mode != Mode::Read,
        };
        if self.query && (self.keys.iter().any(|key| key.mode != Mode::Read) || self.scopes.iter().any(changes)) {
            return Err(DeclarationProblem::QueryWrites);
        }
        if self.scopes.contains(&ScopeDeclaration::Nothing)
            && (self.scopes.len() > 1 || !self.keys.is_empty() || self.callable)
        {
            return Err(DeclarationProblem::NothingAndSomething);
        }
        Ok(())
    }
}

fn is_one_value(bytes: &[u8]) -> bool {
    let mut reader = crate::messagepack::Reader::new(bytes);
    reader.value().is_ok() && reader.finish().is_ok()
}

/// Checks declarations, each by itself and their names together.
pub(crate) fn check_all(commands: &[CommandSpec]) -> Result<(), DeclarationError> {
    let mut names = HashSet::new();
    for command in commands {
        let refuse = |problem| DeclarationError { command: command.name.clone(), problem };
        command.check().map_err(refuse)?;
        if !names.insert(&command.name) {
            return Err(refuse(DeclarationProblem::Duplicate));
        }
    }
    Ok(())
}
