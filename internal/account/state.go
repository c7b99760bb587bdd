package account

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/internal/text"
)

// Phase is what the breaker does just now.
type Phase string

// The phases.
const (
	PhaseOpen    Phase = "open"    // calls are made
	PhasePaused  Phase = "paused"  // no call is made; when the pause is over, one is, as the probe
	PhaseProbing Phase = "probing" // the probe is being made
)

// State is the state of the account, as all replicas share it.
type State struct {
	Phase Phase  `json:"state"`
	ID    string `json:"id"`              // new with every change; a prober recognises its probe by it
	Level int    `json:"level,omitempty"` // counts the pauses since calls were made; 0 while they are
	// Since is when the first of these pauses began, or when calls were made again.
	Since time.Time `json:"since,omitzero"`
	// Until is the end of the pause; while probing, of the one before.
	Until      time.Time `json:"until,omitzero"`
	ProbeUntil time.Time `json:"probe_until,omitzero"`
	// Code and Message are Aliyun's, from the answer that began the pause.
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	Worker  string `json:"worker,omitempty"` // the replica that wrote this state
}

const (
	maxStateBytes   = 16 << 10
	maxCodeBytes    = 128
	maxMessageBytes = 512
	maxWorkerBytes  = 128
	maxLevel        = 1 << 20 // the pause is the longest long before
)

var errCorrupt = errors.New("the account's state can't be read")

// Closed reports whether calls are held back: until a probe has got through.
func (s State) Closed() bool { return s.Phase != PhaseOpen }

// decode reads a state. Where nothing is stored, calls are made.
func decode(data []byte) (State, error) {
	if len(data) == 0 {
		return State{Phase: PhaseOpen}, nil
	}
	var s State
	if len(data) > maxStateBytes || json.Unmarshal(data, &s) != nil || s.Level < 0 || s.Level > maxLevel ||
		!slices.Contains([]Phase{PhaseOpen, PhasePaused, PhaseProbing}, s.Phase) {
		return State{}, errCorrupt
	}
	// Whoever wrote it, it is logged and shown.
	s.Code, s.Message = text.Line(s.Code, maxCodeBytes), text.Line(s.Message, maxMessageBytes)
	s.Worker = text.Line(s.Worker, maxWorkerBytes)
	return s, nil
}

func (s State) pauses(now time.Time) bool { return s.Phase == PhasePaused && s.Until.After(now) }

// left is how long no probe may be made while calls are held back.
func (s State) left(now time.Time) time.Duration {
	if s.Phase == PhaseProbing {
		return max(s.ProbeUntil.Sub(now), 0)
	}
	return max(s.Until.Sub(now), 0)
}

// admission is what a job is told that is not the probe.
func (s State) admission(now time.Time) domain.Admission {
	switch left := s.left(now); s.Phase {
	case PhasePaused:
		return domain.Admission{Wait: left}
	case PhaseProbing:
		return domain.Admission{Wait: min(left, shortWait)}
	default:
		return domain.Admission{Allowed: true}
	}
}

type event struct {
	kind          kind
	probe         string // the ID of the probe that the replica held when it happened
	code, message string // of a trip
	first         time.Duration
}

type kind string

const (
	admit        kind = "admit"           // a job asks for the probe
	trip         kind = "trip"            // a call was refused for the whole account
	passed       kind = "open"            // the probe got through
	inconclusive kind = "leave the probe" // the probe told nothing
	resume       kind = "resume"          // an operator ends the pause
)

// after is what an event makes of the state, or nil if it changes nothing. Only the replica that holds the probe
// opens the breaker or lengthens a pause: any other call began before the breaker was tripped. The first pause is
// longer than a call may last, so no such call is left when the breaker opens again.
func (s State) after(e event, now time.Time) *State {
	next, holds := s, e.probe != "" && e.probe == s.ID
	switch {
	case e.kind == admit && s.Closed() && s.left(now) == 0:
		next.Phase, next.ProbeUntil = PhaseProbing, now.Add(probeTimeout)
	case e.kind == trip && (holds || e.probe == "" && !s.Closed()):
		next = State{
			Phase: PhasePaused, Level: min(s.Level+1, maxLevel), Since: s.Since,
			Code: text.Line(e.code, maxCodeBytes), Message: text.Line(e.message, maxMessageBytes),
		}
		if !s.Closed() {
			next.Level, next.Since = 1, now
		}
		next.Until = now.Add(retry.Interval(e.first, 2, longestPause, next.Level))
	case e.kind == passed && holds:
		next = State{Phase: PhaseOpen, Since: now}
	case e.kind == inconclusive && holds, e.kind == resume && s.pauses(now):
		next.Phase, next.Until, next.ProbeUntil = PhasePaused, now, time.Time{} // the next job probes
	default:
		return nil
	}
	return &next
}
