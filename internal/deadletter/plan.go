package deadletter

import (
	"errors"
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Action is what a replay does, or did, with one dead letter.
type Action string

// The actions.
const (
	Replayed Action = "replayed" // its job is published again and the dead letter removed
	// Already: it was replayed before, and is only removed now. A replay that was
	// cut off between publishing and removing leaves such dead letters.
	Already Action = "already_replayed"
	Refused Action = "refused" // it stays as it is, see [Plan.Cause]
	Gone    Action = "gone"    // another replay or a discard took it away meanwhile
	Failed  Action = "failed"  // the broker could not be brought to do it; it stays
)

// Causes of a refusal besides the statuses of a request, such as "sent".
const (
	CauseExpired    = "expired"
	CauseInvalid    = "invalid"
	CauseTruncated  = "truncated"
	CauseCorrupt    = "corrupt"
	CauseInProgress = "under_way"
	CauseQueued     = "queued"
)

// Plan is what a replay would do with a dead letter, and why.
type Plan struct {
	Action Action          `json:"action"`
	Cause  string          `json:"cause,omitempty"` // one word: why it is refused
	Why    string          `json:"why,omitempty"`   // the same for people, without any value of the job
	Stands passcode.Status `json:"-"`               // how the request stands; empty where there is no record of it

	// ExpiresAt is when the replayed passcode runs out, Number counts the replays of
	// the request, this one included, and Body is the job to publish. All with
	// Replayed.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Number    int       `json:"replay,omitempty"`
	Body      []byte    `json:"-"`
	// Asks: Aliyun is asked about an earlier attempt before anything is sent.
	Asks bool `json:"-"`
}

// Life says how long a replayed passcode lives.
type Life struct {
	// TTL gives each passcode at least this much from now on; 0 leaves it the life
	// that it has, and refuses what has expired.
	TTL time.Duration
	// PasscodeTTL is worker.passcode_ttl: the life of a job that names none.
	PasscodeTTL time.Duration
}

// Decide says what a replay would do with a dead letter at the time given. record
// is what the worker knows of the request, nil where there is no record.
//
// Only a request that is dead-lettered, unknown or without a record is opened
// again; see [passcode.Status.Replayable].
func Decide(s Stored, record *passcode.Result, now time.Time, life Life) Plan {
	plan := decide(s, record, now, life)
	plan.Asks = plan.Action == Replayed && !s.Entry.AttemptedAt.IsZero()
	if record != nil {
		plan.Stands = record.Status
		plan.Asks = plan.Action == Replayed && domain.MayBeSent(*record)
	}
	return plan
}

func decide(s Stored, record *passcode.Result, now time.Time, life Life) Plan {
	if s.Err != nil {
		return refuse(CauseCorrupt, s.Err.Error())
	}
	number := s.Entry.Replays + 1
	if record != nil && record.Replays >= number {
		// Nobody but a replay of this dead letter, or of a later one, can have
		// brought the record there.
		return Plan{Action: Already, Why: fmt.Sprintf("replay %d was taken up before; the request is %s", record.Replays, record.Status)}
	}
	if s.Entry.Truncated {
		return refuse(CauseTruncated, "only the beginning of the job fitted into the dead letter")
	}
	job, err := s.Job()
	var invalid *passcode.InvalidError
	switch {
	case errors.As(err, &invalid):
		return refuse(CauseInvalid, invalid.Error())
	case err != nil:
		return refuse(CauseInvalid, "the job can't be read")
	case s.Entry.RequestID != "" && job.RequestID != s.Entry.RequestID:
		return refuse(CauseCorrupt, "the dead letter's request id is not its job's")
	case record != nil && !record.Final:
		return refuse(CauseInProgress, fmt.Sprintf("the request is %s: a worker has it", record.Status))
	case record != nil && !record.Status.Replayable():
		return refuse(string(record.Status), "the request is "+string(record.Status)+", and that is final")
	}
	return revive(s, job, number, now, life)
}

// revive settles how long the passcode of a job that may be replayed lives.
//
// The job says itself when it expires. Where it doesn't, that is written into it,
// or its time would begin again with the replay.
func revive(s Stored, job passcode.Job, number int, now time.Time, life Life) Plan {
	expires := s.ExpiresAt(job, life.PasscodeTTL)
	if life.TTL > 0 && expires.Before(now.Add(life.TTL)) {
		expires = now.Add(life.TTL).UTC().Truncate(time.Millisecond)
	}
	if !expires.After(now) {
		return refuse(CauseExpired, "the passcode has expired; --ttl gives it a new life")
	}
	plan := Plan{Action: Replayed, Number: number, Body: s.Entry.Body, ExpiresAt: expires}
	if expires.Equal(job.ExpiresAt) {
		return plan // its very bytes
	}
	job.ExpiresAt = expires
	body, err := job.Encode()
	if err != nil {
		return refuse(CauseInvalid, err.Error())
	}
	plan.Body = body
	return plan
}

func refuse(cause, why string) Plan { return Plan{Action: Refused, Cause: cause, Why: why} }
