//! DO: statements one after the other, with conditions and with errors that are caught. A small part of PL/pgSQL: no
//! variables and no loops.

use std::sync::Arc;

/// `BEGIN … [EXCEPTION …] END`
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// What it does.
    pub steps: Vec<Step>,
    /// What it does about errors of the steps, whose changes are taken back then; the first that fits counts.
    pub handlers: Vec<Handler>,
}

/// One step of a block.
#[derive(Clone, Debug)]
pub enum Step {
    /// The text of a statement, whose rows nobody gets.
    Run(Arc<str>),
    /// IF … THEN … ELSIF … THEN …: each has the text of a query that gives a row where the condition is true.
    If(Vec<(Arc<str>, Vec<Step>)>, Vec<Step>),
    /// A block within the block.
    Block(Block),
    /// RAISE of a message.
    Raise(Raise, Arc<str>),
}

/// How loud a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raise {
    /// RAISE INFO
    Info,
    /// RAISE NOTICE
    Notice,
    /// RAISE WARNING
    Warning,
    /// RAISE EXCEPTION
    Exception,
}

/// `WHEN … THEN …`
#[derive(Clone, Debug)]
pub struct Handler {
    /// SQLSTATEs; `None` stands for all but cancels.
    pub states: Vec<Option<Arc<str>>>,
    /// What is done.
    pub steps: Vec<Step>,
}
