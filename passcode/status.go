package passcode

// Status is where a request stands. See [Status.Final] for which of them end it.
type Status string

// The statuses of a request.
const (
	StatusSending      Status = "sending"       // claimed by a worker; a call to Aliyun may be in progress
	StatusRetrying     Status = "retrying"      // the last attempt surely sent nothing; another follows
	StatusInDoubt      Status = "in_doubt"      // the last attempt may or may not have been accepted; a look-up will tell
	StatusSent         Status = "sent"          // Aliyun accepted it
	StatusRateLimited  Status = "rate_limited"  // a limit refused it; nothing was sent
	StatusRejected     Status = "rejected"      // it can never be sent
	StatusExpired      Status = "expired"       // the code was no longer worth sending
	StatusUnknown      Status = "unknown"       // may have been sent, and could not be settled
	StatusDeadLettered Status = "dead_lettered" // needs an operator
	StatusDelivered    Status = "delivered"     // the carrier reported delivery
	StatusUndelivered  Status = "undelivered"   // the carrier reported failure
)

// Statuses lists every status, in the order in which a request may pass them.
func Statuses() []Status {
	return []Status{
		StatusSending, StatusRetrying, StatusInDoubt, StatusSent, StatusRateLimited, StatusRejected,
		StatusExpired, StatusUnknown, StatusDeadLettered, StatusDelivered, StatusUndelivered,
	}
}

// Final reports whether nothing more will happen to a request by itself: only
// an operator's replay, or the carrier's report after [StatusSent], changes it.
func (s Status) Final() bool {
	switch s {
	case StatusSending, StatusRetrying, StatusInDoubt:
		return false
	default:
		return true
	}
}

// Replayable reports whether an operator's replay may open such a request again.
func (s Status) Replayable() bool { return s == StatusDeadLettered || s == StatusUnknown }

// Class is the kind of an outcome, one word in records, metrics, logs and dead letters alike.
type Class string

// The classes of an outcome.
const (
	ClassOK           Class = "ok"            // Aliyun accepted the message
	ClassInvalid      Class = "invalid"       // the job breaks the rules of the wire format
	ClassTransient    Class = "transient"     // surely not sent; worth another attempt
	ClassThrottled    Class = "throttled"     // like transient, and Aliyun asks for fewer calls
	ClassInDoubt      Class = "in_doubt"      // may have been sent
	ClassPhoneLimited Class = "phone_limited" // a limit on the phone, ours or Aliyun's
	ClassRecipient    Class = "recipient"     // this number can't or won't receive
	ClassConfig       Class = "config"        // template, signature or parameters are wrong
	ClassAccount      Class = "account"       // nothing can be sent for this account just now
	ClassExpired      Class = "expired"       // the code's time ran out before it could be sent
	ClassPoison       Class = "poison"        // the job took its worker down with it too often
)

// Classes lists every class.
func Classes() []Class {
	return []Class{
		ClassOK, ClassInvalid, ClassTransient, ClassThrottled, ClassInDoubt, ClassPhoneLimited,
		ClassRecipient, ClassConfig, ClassAccount, ClassExpired, ClassPoison,
	}
}

// Reason is why a job is in the dead-letter stream.
type Reason string

// The reasons for a dead letter.
const (
	ReasonInvalid   Reason = "invalid"   // the job breaks the rules of the wire format
	ReasonConfig    Reason = "config"    // template, signature or parameters are wrong
	ReasonExhausted Reason = "exhausted" // every attempt failed
	ReasonUnknown   Reason = "unknown"   // may have been sent, and could not be settled
	ReasonPoison    Reason = "poison"    // it took its worker down with it too often
)

// Reasons lists every reason.
func Reasons() []Reason {
	return []Reason{ReasonInvalid, ReasonConfig, ReasonExhausted, ReasonUnknown, ReasonPoison}
}
