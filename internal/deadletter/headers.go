package deadletter

// Headers of a dead letter. Times are RFC 3339 with fractions of a second, in
// UTC; counts are decimal. A header without a value is written empty, so that
// every dead letter has the same set; only those marked optional may be absent.
const (
	HeaderReason        = "Passcode-Reason"
	HeaderErrorCode     = "Passcode-Error-Code"
	HeaderErrorMessage  = "Passcode-Error-Message" // one line, at most MaxMessageBytes
	HeaderRequestID     = "Passcode-Request-Id"    // empty where none could be read
	HeaderAttempts      = "Passcode-Attempts"
	HeaderOriginStream  = "Passcode-Origin-Stream"
	HeaderOriginSeq     = "Passcode-Origin-Seq"
	HeaderOriginSubject = "Passcode-Origin-Subject"
	HeaderQueuedAt      = "Passcode-Queued-At"
	HeaderDeadAt        = "Passcode-Dead-At"
	HeaderWorker        = "Passcode-Worker"
	HeaderReplays       = "Passcode-Replays"

	// [domain.HeaderAttemptedAt] stands where an attempt was made; optional.

	// HeaderBodyTruncated ("true") and HeaderBodySize (the job's size in bytes)
	// stand on a dead letter whose job did not fit into one message; optional.
	HeaderBodyTruncated = "Passcode-Body-Truncated"
	HeaderBodySize      = "Passcode-Body-Size"

	// HeaderTraceParent and HeaderTraceState are the job's own, as W3C Trace
	// Context defines them; optional.
	HeaderTraceParent = "traceparent"
	HeaderTraceState  = "tracestate"
)

// Limits of header values, in bytes. What is longer is cut off.
const (
	MaxMessageBytes = 1 << 10
	maxCodeBytes    = 128
	maxNameBytes    = 256 // of streams, subjects and workers
	maxStateBytes   = 512 // of a trace state, by W3C Trace Context
)
