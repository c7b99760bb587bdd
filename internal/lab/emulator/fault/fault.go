// Package fault is how the emulator misbehaves on request.
package fault

import (
	_ "embed" // the help
	"slices"
	"time"
)

// Kind is what a fault does.
type Kind string

// The kinds of fault; [Help] says what each does.
const (
	KindCode        Kind = "code"
	KindHTML502     Kind = "html502"
	KindEmpty       Kind = "empty"
	KindGarbage     Kind = "garbage"
	KindHang        Kind = "hang"
	KindDrop        Kind = "drop"
	KindReset       Kind = "reset"
	KindSlow        Kind = "slow"
	KindLatency     Kind = "latency"
	KindLag         Kind = "lag"
	KindUndelivered Kind = "undelivered"
)

// throttle is short for a code.
const throttle, throttleCode = "throttle", "Throttling.User"

// refusing are the kinds that leave the message unaccepted, unless accept_ stands before
// them; harmless are the others.
var (
	refusing = []Kind{KindCode, KindHTML502, KindEmpty, KindGarbage, KindHang, KindDrop, KindReset}
	harmless = []Kind{KindSlow, KindLatency, KindLag, KindUndelivered}
)

// Fault is one way to misbehave, and when to. [Parse] makes it.
type Fault struct {
	Spec string
	Kind Kind
	// Accept makes a kind accept the message that would leave it unaccepted.
	Accept bool
	// Code, Status and Message are the answer of [KindCode]; without Status and Message
	// Aliyun's own for the code.
	Code     string
	Status   int
	Message  string
	Err      string        // the carrier's report code of the accepted message
	Duration time.Duration // of [KindSlow]; 0 is 5 seconds
	// Latency and Lag replace the emulator's own latency and look-up lag.
	Latency, Lag time.Duration

	action string
	phone  string  // the number's key; empty is any
	share  float64 // of the matching requests; 0 is all
	count  int     // 0 is without end
	fired  int
}

// Accepts reports whether a message that meets the fault is accepted.
func (f *Fault) Accepts() bool { return f.Accept || !slices.Contains(refusing, f.Kind) }

// Help describes the SPEC of a fault for a command's help.
//
//go:embed help.txt
var Help string
