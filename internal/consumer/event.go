package consumer

import (
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// goal is what a job is in hand for.
type goal int

const (
	goalSend   goal = iota // it is to be sent
	goalExpire             // its code has run out, so nothing may be sent
	goalHold               // Aliyun answers nothing, so nothing may be sent now
	goalEnd                // the server no longer delivers it
	goalRefuse             // it can't be handled, and has its dead letter
)

// event is what happened to a job: one of the types below.
type event any

type (
	// arrived: the job is in hand.
	arrived struct{}
	// passed: nothing happened, and the job goes on to the next stage.
	passed struct{}

	// refused: the job breaks the rules.
	refused struct{ why *passcode.InvalidError }
	// panicked: our own code did, on this job.
	panicked struct{ claimed bool }
	// unusable: the request's record can be neither read nor written.
	unusable struct{}
	// failed: an operation did, so that the job can't go on here and now.
	failed struct{ why error }

	// undelivered: the server no longer delivers the job.
	undelivered struct{ suspected bool }
	// expired: the code has run out.
	expired struct{}
	// silent: Aliyun answers nothing.
	silent struct{}
	// paused: the account is closed.
	paused struct{ wait time.Duration }

	// judged: the request's record was claimed, or read.
	judged struct {
		state domain.ClaimState
		goal  goal
		// redelivered: the server delivered the job before.
		redelivered bool
		// The owner of the request has the same.
		samePhone, sameSequence bool
		hold                    time.Duration         // with goalHold
		why                     *domain.Undeliverable // with goalEnd
	}
	// dated: no record is missing that was written after that time.
	dated struct{ since time.Time }
	// doubted: the record says that the request is in doubt.
	doubted struct{}
	// crowded: another suspect's call is in progress; see suspect.
	crowded struct{}
	// ownerFound: it is known whether the job that owns the request is in the stream.
	ownerFound struct{ waits bool }
	// tookOver: the job owns the request now.
	tookOver struct{}

	// denied: our own limit refused the request.
	denied struct{ domain.Reservation }
	// unreserved: the phone's limits could not be read.
	unreserved struct{}
	// called: a call to Aliyun ended. If the account is closed, until is when the next may be made.
	called struct {
		domain.Outcome
		until time.Time
	}
	// answered: a look-up was.
	answered struct{ domain.Finding }
	// unanswered: a look-up failed.
	unanswered struct{}
)
