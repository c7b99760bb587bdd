package deadletter

import (
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
	// Already: a replay that was cut off published it; it is only removed now.
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

	// With Replayed:
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Number    int       `json:"replay,omitempty"` // of the request's replays, this one included
	Body      []byte    `json:"-"`                // the job to publish
	Asks      bool      `json:"-"`                // Aliyun is asked about an earlier attempt before anything is sent
}

// Life says how long a replayed passcode lives.
type Life struct {
	TTL         time.Duration // at least this much from now on; 0 refuses what has expired
	PasscodeTTL time.Duration // worker.passcode_ttl: of a job that names no expiry
}

// Decide says what a replay would do with a dead letter at the time given. record is nil where the request has
// none. Only a request without a record, or with a [passcode.Status.Replayable] one, is opened again.
func Decide(s Stored, record *passcode.Result, now time.Time, life Life) Plan {
	plan := decide(s, record, now, life)
	plan.Asks = plan.Action == Replayed && !s.AttemptedAt.IsZero()
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
	number := s.Replays + 1
	if record != nil && record.Replays >= number {
		// Only a replay of this dead letter, or of a later one, makes such a record.
		return Plan{Action: Already, Why: fmt.Sprintf("replay %d was taken up before; the request is %s", record.Replays, record.Status)}
	}
	if s.Truncated {
		return refuse(CauseTruncated, "only the beginning of the job fitted into the dead letter")
	}
	job, err := s.Job()
	switch {
	case err != nil: // it quotes nothing of the job
		return refuse(CauseInvalid, err.Error())
	case s.RequestID != "" && job.RequestID != s.RequestID:
		return refuse(CauseCorrupt, "the dead letter's request id is not its job's")
	case record != nil && !record.Final:
		return refuse(CauseInProgress, fmt.Sprintf("the request is %s: a worker has it", record.Status))
	case record != nil && !record.Status.Replayable():
		return refuse(string(record.Status), "the request is "+string(record.Status)+", and that is final")
	}
	return revive(s, job, number, now, life)
}

// revive settles how long the passcode of a replayed job lives. Where the job doesn't
// say it, it is written into the job, or its time would begin again with the replay.
func revive(s Stored, job passcode.Job, number int, now time.Time, life Life) Plan {
	expires := s.ExpiresAt(job, life.PasscodeTTL)
	if life.TTL > 0 && expires.Before(now.Add(life.TTL)) {
		expires = now.Add(life.TTL).UTC().Truncate(time.Millisecond)
	}
	if !expires.After(now) {
		return refuse(CauseExpired, "the passcode has expired; --ttl gives it a new life")
	}
	plan := Plan{Action: Replayed, Number: number, Body: s.Body, ExpiresAt: expires}
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
