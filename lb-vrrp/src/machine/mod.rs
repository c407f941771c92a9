//! One virtual router.
//!
//! | file | what it does |
//! |---|---|
//! | `event.rs` | what can happen to it |
//! | `action.rs` | what it wants done |
//! | `settings.rs` | what it is configured to do |

mod action;
mod event;
mod settings;

pub use action::{Action, Actions, Notice, Reason, Role, RoleChange};
pub use event::Event;
pub use settings::{Garp, Preempt, Settings};
