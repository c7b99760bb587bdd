package consumer

import (
	"context"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Source delivers jobs.
type Source interface {
	// Next waits for a job. It returns domain.ErrDrained once the source was drained and is empty, and ctx's
	// cause when ctx ends first.
	Next(ctx context.Context) (domain.Delivery, error)
	// Drain stops asking for jobs. Next still returns those that have arrived.
	Drain()
}

// Ledger keeps one record for each request.
type Ledger interface {
	// Claim stores first unless the request is already known; see domain.Claim.
	Claim(ctx context.Context, first passcode.Result) (domain.Claim, error)
	// Update replaces the record of that revision and returns the new revision.
	// domain.ErrConflict: the record was changed by somebody else.
	Update(ctx context.Context, rec passcode.Result, revision uint64) (uint64, error)
	// Since is from when on no record is missing. Earlier ones may have been deleted, or have expired.
	Since(ctx context.Context) (time.Time, error)
	// Get returns the record and its revision, or domain.ErrNotFound.
	Get(ctx context.Context, requestID string) (passcode.Result, uint64, error)
}

// Limiter holds the limits of each phone, shared by all replicas.
type Limiter interface {
	// Reserve makes a reservation for the request, one however often it is called. The record's revision, which
	// grows with each attempt, is a fencing token.
	Reserve(ctx context.Context, phone passcode.Phone, requestID string, revision uint64) (domain.Reservation, error)
	// Release gives the request's reservation up, unless a later attempt holds it.
	Release(ctx context.Context, phone passcode.Phone, requestID string, revision uint64) error
	// CloseFor closes the phone for d.
	CloseFor(ctx context.Context, phone passcode.Phone, d time.Duration) error
}

// Sender calls Aliyun.
type Sender interface {
	// Pace waits until a call may be made. returnPermit is for one that isn't used.
	Pace(ctx context.Context) (returnPermit func(), err error)
	// Send makes one call. Nothing is written to the network after notAfter.
	Send(ctx context.Context, msg domain.Message, notAfter time.Time) domain.Outcome
	// Lookup asks what became of the request's sends, none of which was made before since.
	Lookup(ctx context.Context, phone passcode.Phone, requestID string, since time.Time) (domain.Finding, error)
}

// AccountBreaker stops all replicas while nothing can be sent for the account.
type AccountBreaker interface {
	// Admit says whether a call may be made now. The first one after a pause is a probe.
	Admit(ctx context.Context) (domain.Admission, error)
	// Trip stops the calls, until the time returned.
	Trip(ctx context.Context, code, message string) (time.Time, error)
	// Passed says that the account works.
	Passed(ctx context.Context) error
	// Inconclusive says that a probe told nothing about the account.
	Inconclusive(ctx context.Context) error
}

// OutageBreaker stops this worker's calls while Aliyun answers none of them.
type OutageBreaker interface {
	// Admit says whether a call may be made for the request now, and whether it is a probe.
	Admit(requestID string) domain.Admission
	// Asked says whether a probe's call may be made, after a look-up of its request ended with err.
	Asked(requestID string, err error) domain.Admission
	// NotCalled says that no call was made for a request that was admitted as probe.
	NotCalled(requestID string)
}

// Metrics counts what happens. Its methods return at once.
type Metrics interface {
	Status(passcode.Status)                // a request came to it
	Attempt(passcode.Class, time.Duration) // how a call to Aliyun ended, and after what time
	Sent(sinceQueued time.Duration)        // Aliyun accepted a job
	InFlight(delta int)                    // so many more (or fewer) jobs are being handled
	Lookup(result string)                  // "accepted", "undelivered", "not_found" or "failed"
	Delivery(kind string)                  // one of deliveries, "invalid", "expired" or "handed_back"
	DeadLetter(passcode.Reason)
	Denied(rule string)        // by our own limit
	Undeliverable(code string) // "max_deliveries" or "terminated"
	Trouble(operation string)  // it failed, and is tried again
}
