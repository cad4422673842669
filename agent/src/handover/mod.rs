//! Handover: how an agent goes on with what another one counts. Hands out a start, with what was taken over, and the end of who gave it.

mod give;
mod origin;
mod standby;
mod start;
mod state;
mod take;
mod wire;

pub use give::{Given, Taken, offer};
pub use origin::Origin;
pub use standby::stand_by;
pub use start::{NotStarted, Start, Started};
pub use state::{Kept, State, Tls, VERSION};
pub use take::Layouts;
