//! From guest instructions to host code.

pub(crate) mod assembler;
mod bit;
pub(crate) mod block;
pub(crate) mod branch;
mod call;
mod copy;
pub(crate) mod direct;
mod flag;
mod hasty;
pub(crate) mod listing;
mod operand;
pub(crate) mod ring;
pub(crate) mod shared;
pub(crate) mod site;
mod stack;
mod string;
pub(crate) mod system;
