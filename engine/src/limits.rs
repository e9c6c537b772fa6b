//! Every bound of the engine, with what happens at it.
//! In: nothing. Out: one constant a bound, read by the check, the message and the reference page alike.

/// One bound: its name, value, unit, and what happens beyond it.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Name as in error messages and on the reference page.
    pub name: &'static str,
    /// Greatest value allowed.
    pub max: u64,
    /// Unit of the value.
    pub unit: &'static str,
    /// What happens beyond it.
    pub beyond: &'static str,
}

macro_rules! limits {
    ($($(#[doc = $doc:expr])* $id:ident = $max:expr, $unit:expr, $beyond:expr;)*) => {
        $(
            $(#[doc = $doc])*
            pub const $id: Limit = Limit { name: stringify!($id), max: $max, unit: $unit, beyond: $beyond };
        )*
        /// All bounds, for the reference page.
        pub const ALL: &[Limit] = &[$($id),*];
    };
}

limits! {
    /// Bytes of one message.
    FRAME_BYTES = 1 << 20, "bytes", "the message goes to the dead-letter topic";
    /// Waveforms in one frame.
    FRAME_WAVES = 64, "waveforms", "the message goes to the dead-letter topic";
    /// Observations in one frame.
    FRAME_OBSERVATIONS = 256, "observations", "the message goes to the dead-letter topic";
    /// Commands in one frame.
    FRAME_COMMANDS = 16, "commands", "the message goes to the dead-letter topic";
    /// Samples of one waveform in one frame.
    WAVE_SAMPLES = 65_536, "samples", "the message goes to the dead-letter topic";
    /// Sampling rate.
    WAVE_RATE_HZ = 5_000, "Hz", "the message goes to the dead-letter topic";
    /// Event time that one frame may span.
    FRAME_SPAN_S = 60, "s", "the message goes to the dead-letter topic";
    /// Bytes of an id, label, rule or actor.
    TEXT_BYTES = 128, "bytes", "the message goes to the dead-letter topic";
    /// How far a frame's event time may lie ahead of its broker time.
    AHEAD_S = 300, "s", "the message goes to the dead-letter topic";
    /// Longest pause of a rule.
    PAUSE_S = 3_600, "s", "the message goes to the dead-letter topic";
    /// Sources remembered for one patient.
    PATIENT_SOURCES = 16, "sources", "the source heard of longest ago is forgotten";
    /// Frames of one patient that wait for their epoch to be sealed.
    PATIENT_PENDING_FRAMES = 4_096, "frames", "the oldest epochs are sealed early";
    /// Epochs without any data that are computed after a patient falls silent.
    EMPTY_EPOCHS = 600, "epochs", "the silence beyond is skipped and every signal starts anew";
    /// Patients of one partition.
    SHARD_PATIENTS = 100_000, "patients", "frames of further patients go to the dead-letter topic";
    /// Bytes of a message that the dead-letter topic gets; what a broker took in must always fit out again.
    REJECT_BYTES = 512 << 10, "bytes", "the dead letter holds the beginning, and the length in a header";
    /// Bytes of one patient's snapshot; brokers take messages of one megabyte by default.
    STATE_BYTES = 900 << 10, "bytes", "no snapshot is written: the patient is recovered by reading more of the log";
    /// Records whose outputs are not committed yet.
    IN_FLIGHT_RECORDS = 50_000, "records", "partitions are paused until transactions have gone through";
    /// Bytes of outputs that are not committed yet.
    IN_FLIGHT_BYTES = 16 << 20, "bytes", "partitions are paused until transactions have gone through";
    /// Bytes of log whose rows wait for the archive.
    ARCHIVE_WAITING_BYTES = 16 << 20, "bytes", "partitions are paused until the archive has written";
    /// Records taken in one step.
    STEP_RECORDS = 10_000, "records", "the rest waits for the next step";
}
