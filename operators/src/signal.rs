//! The words that travel through the walk: units, event time, channels, frames, epochs, readings.
//! In: nothing. Out: types that every other module shares; each carries its unit in its type or its name.

pub mod channel;
pub mod epoch;
pub mod frame;
pub mod graded;
pub mod reading;
pub mod time;
pub mod units;
pub mod values;

pub use channel::{CHANNELS, Channel, ChannelId, Kind};
pub use epoch::{Epoch, Run};
pub use frame::{Frame, PatientId, SourceId};
pub use graded::Graded;
pub use reading::{Beat, BeatClass, BeatKind, ClassedBeat, Missing, Reading, Readings};
pub use time::{EventTime, Span};
pub use units::{Hertz, Unit};
pub use values::{Observed, Origin, Values};
