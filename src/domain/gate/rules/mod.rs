//! The rules, one function each. They know nothing of modes and overrides: they say what they find.

mod approval;
mod image;
mod promotion;
mod target;
mod vulnerabilities;
mod windows;

pub use self::{
    approval::{Count, Standing, approval, counted, no_more},
    promotion::{promotion, source},
    target::preempts,
    vulnerabilities::{accepted, over, unscanned, vulnerabilities},
    windows::{Shut, shut},
};
pub(super) use self::{
    image::image,
    target::{concurrency, lockdown, outdated},
    windows::freeze,
};
