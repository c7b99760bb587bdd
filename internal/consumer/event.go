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
	passed   struct{}               // nothing happened, and the job goes on to the next stage
	failed   struct{ why error }    // an operation did, so the job can't go on here and now
	panicked struct{ claimed bool } // our own code did, on this job

	decoded     struct{}                             // the job can be handled
	refused     struct{ why *passcode.InvalidError } // it breaks the rules
	undelivered struct{ why *domain.Undeliverable }  // the server no longer delivers it
	probed      struct{}                             // Aliyun answers again; asking it took time
	silent      struct{}                             // Aliyun answers nothing
	barred      struct{ wait time.Duration }         // the account is closed, or another suspect's call is in progress

	// judged: the request's record was claimed, or read.
	judged struct {
		state                   domain.ClaimState
		goal                    goal
		redelivered             bool                  // the server delivered the job before
		samePhone, sameSequence bool                  // as the owner of the request
		hold                    time.Duration         // with goalHold
		why                     *domain.Undeliverable // with goalEnd
	}
	dated      struct{ since time.Time } // no record is missing that was written after that time
	ownerFound struct{ waits bool }      // whether the job that owns the request is in the stream
	tookOver   struct{}                  // the job owns the request now

	// called: a call to Aliyun ended. If the account is closed, until is when the next may be made.
	called struct {
		domain.Outcome
		until time.Time
	}
	answered   struct{ domain.Finding } // a look-up was
	unanswered struct{}                 // a look-up failed
)
