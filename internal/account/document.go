package account

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"
)

// Phase is what the gate does just now.
type Phase string

// The phases of a gate.
const (
	PhaseOpen    Phase = "open"    // calls are made
	PhasePaused  Phase = "paused"  // no call is made; when the pause is over, one is, as the probe
	PhaseProbing Phase = "probing" // the probe is under way
)

// document is the state of the gate, shared by all replicas.
type document struct {
	State Phase `json:"state"`
	// ID is new with every write. A writer whose answer was lost recognises its
	// own write by it, and a prober its own probe.
	ID string `json:"id"`
	// Level is how many pauses there were since the gate was open.
	Level int `json:"level,omitempty"`
	// Since is when the gate was tripped first, or opened.
	Since time.Time `json:"since,omitzero"`
	// Until is the end of the pause; while probing, of the one before.
	Until      time.Time `json:"until,omitzero"`
	ProbeUntil time.Time `json:"probe_until,omitzero"`
	Code       string    `json:"code,omitempty"`
	Message    string    `json:"message,omitempty"`
	// Worker wrote this state.
	Worker string `json:"worker,omitempty"`
}

const (
	maxDocumentBytes = 16 << 10
	maxCodeBytes     = 128
	maxMessageBytes  = 512
	// maxLevel is far beyond what any pause needs to reach its maximum.
	maxLevel = 1 << 20
)

var errCorrupt = errors.New("the account gate's document can't be read")

// decode reads a document. Nothing stored is an open gate.
func decode(data []byte) (document, error) {
	if len(data) == 0 {
		return document{State: PhaseOpen}, nil
	}
	var doc document
	if len(data) > maxDocumentBytes || json.Unmarshal(data, &doc) != nil {
		return document{}, errCorrupt
	}
	if doc.Level < 0 || doc.Level > maxLevel {
		return document{}, errCorrupt
	}
	switch doc.State {
	case PhaseOpen, PhasePaused, PhaseProbing:
		// Whoever wrote it, it is logged and shown.
		doc.Code, doc.Message = clip(oneLine(doc.Code), maxCodeBytes), clip(oneLine(doc.Message), maxMessageBytes)
		doc.Worker = clip(oneLine(doc.Worker), maxByBytes)
		return doc, nil
	default:
		return document{}, errCorrupt
	}
}

// encode never fails on what this package writes: the times are those of a
// clock, and no other member can fail.
func (d document) encode() ([]byte, error) { return json.Marshal(d) }

// tripped begins a pause: the first, or after a failed probe the next one.
func (d document) tripped(now time.Time, pause func(level int) time.Duration, code, message string) document {
	next := document{
		State:   PhasePaused,
		Level:   min(d.Level+1, maxLevel),
		Since:   d.Since,
		Code:    clip(code, maxCodeBytes),
		Message: clip(message, maxMessageBytes),
	}
	if d.State == PhaseOpen {
		next.Level, next.Since = 1, now
	}
	next.Until = now.Add(pause(next.Level))
	return next
}

// probed hands the probe to one caller.
func (d document) probed(now time.Time, timeout time.Duration) document {
	d.State, d.ProbeUntil = PhaseProbing, now.Add(timeout)
	return d
}

// due ends the pause at once, so that the next job is the probe.
func (d document) due(now time.Time) document {
	d.State, d.Until, d.ProbeUntil = PhasePaused, now, time.Time{}
	return d
}

// opened is the state after a probe that got through.
func opened(now time.Time) document { return document{State: PhaseOpen, Since: now} }

// clip bounds a text from outside, at the edge of a character.
func clip(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	for !utf8.RuneStart(text[limit]) {
		limit--
	}
	return strings.TrimRight(text[:limit], " ") // or it would be another text when read again
}

// pauseOf returns how long the pause of a level lasts: initial, doubled with each
// level, up to longest.
func pauseOf(initial, longest time.Duration) func(level int) time.Duration {
	return func(level int) time.Duration {
		pause := initial
		for i := 1; i < level && pause < longest; i++ {
			pause *= 2
		}
		return min(pause, longest)
	}
}
