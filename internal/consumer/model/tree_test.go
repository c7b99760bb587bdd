package model_test

import (
	"errors"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// A worker of the model is the real Handler.Handle, run up to its next operation on the world. It has no state
// but what it was told, so its place is the list of answers that it got so far, and to take one step more it is
// run again from the start with these. The list is a path in a tree; what the worker asks for at the end of
// each path is found out once.

// What a worker asks of the world.
const (
	opReturn = iota // nothing more: Handle returned
	opAdmit
	opClaim
	opFindOwner
	opUpdate
	opGet
	opAhead     // a reservation that is made before or while the claim is
	opAheadLate // one that is made after it
	opReserve
	opRelease
	opClose
	opSend
	opLookUp
	opDeadLetter
	opAnnounce
	opReply
	opAck
	opNak
	opTerm
)

var opNames = [...]string{
	opReturn: "returns", opAdmit: "asks the account breaker", opClaim: "claims", opFindOwner: "looks for the owner of the record, job", opUpdate: "records", opGet: "reads the record",
	opAhead: "reserves ahead", opAheadLate: "reserves ahead, late", opReserve: "reserves", opRelease: "releases its reservation", opClose: "closes the phone", opSend: "sends",
	opLookUp: "looks up", opDeadLetter: "writes the dead letter", opAnnounce: "announces again", opReply: "replies",
	opAck: "acks", opNak: "naks", opTerm: "terms",
}

// op is one operation, with what it carries.
type op struct {
	kind     uint8
	revision uint8 // of an update or a reservation; of an owner its sequence
	reason   uint8 // of a dead letter, in passcode.Reasons
	record   int32 // a record's number
	ticks    int16 // of a nak the delay; of a send the last tick at which it may be written; of a look-up since when
	window   int16 // for which the phone is closed
}

// told is the answer to an operation: what it returned, and when it did; and what the clock said after it, up
// to the worker's next operation. The two are the same time, unless the worker was frozen in between: its looks
// at the clock show then now at first, looks of them, and later after that.
type told struct {
	err         uint8
	claim       uint8
	revision    uint8
	outcome     uint8
	found       uint8
	waits       bool
	ahead       uint8
	record      int32
	now         int16
	looks       uint8
	later       int16 // 0: it was not frozen
	reservation domain.Reservation
}

// What a worker may be told of a reservation ahead.
const (
	aheadKnown = iota // not made: something is known of the phone
	aheadMade
	aheadPending
)

// Errors that a worker may be told.
const (
	noError = iota
	errTold // no answer from the broker
	conflictTold
	notFoundTold
	lookUpFailed
)

var toldErrors = [...]error{nil, errTrouble, domain.ErrConflict, domain.ErrNotFound, errors.New("look-up failed")}

var (
	errTrouble = errors.New("no answer from the broker")
	errDied    = errors.New("the worker died")
)

// tree holds every list of answers that workers got, each as the list before it and one answer more.
type tree struct {
	nodes []node
	index map[branch]int32
}

type node struct {
	branch
	next  op
	looks uint8 // at the clock, before next
	known bool  // next is
}

type branch struct {
	parent int32
	told   told
	// job is that of the root: a delivery. Zero in all other nodes.
	job delivered
}

// delivered is a job as a worker gets it.
type delivered struct {
	seq, replay, worker uint8
	again               bool // it was delivered before
	expires             int16
}

func newTree() tree { return tree{nodes: make([]node, 1), index: map[branch]int32{}} }

func (t *tree) grow(b branch) int32 {
	n, ok := t.index[b]
	if !ok {
		n = int32(len(t.nodes))
		t.nodes = append(t.nodes, node{branch: b})
		t.index[b] = n
	}
	return n
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// at is the time of a tick, the model's unit of time: a second.
func at(tick int16) time.Time { return noon.Add(time.Duration(tick) * time.Second) }

func tickOf(t time.Time) int16 { return int16(t.Sub(noon) / time.Second) }
