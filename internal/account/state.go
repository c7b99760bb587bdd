package account

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

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

// tripped begins a pause: the first, or after a failed probe the next one, which is
// twice as long, up to the longest.
func (s State) tripped(now time.Time, first time.Duration, code, message string) State {
	next := State{
		Phase: PhasePaused, Level: min(s.Level+1, maxLevel), Since: s.Since,
		Code: text.Line(code, maxCodeBytes), Message: text.Line(message, maxMessageBytes),
	}
	if !s.Closed() {
		next.Level, next.Since = 1, now
	}
	next.Until = now.Add(retry.Interval(first, 2, longestPause, next.Level))
	return next
}

// probed hands the probe to one caller.
func (s State) probed(now time.Time) State {
	s.Phase, s.ProbeUntil = PhaseProbing, now.Add(probeTimeout)
	return s
}

// due ends the pause at once, so that the next job is the probe.
func (s State) due(now time.Time) State {
	s.Phase, s.Until, s.ProbeUntil = PhasePaused, now, time.Time{}
	return s
}

// opened is the state after a probe that got through.
func opened(now time.Time) State { return State{Phase: PhaseOpen, Since: now} }
