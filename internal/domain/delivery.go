package domain

import "time"

// Delivery is one delivered job. At most one of Ack, Nak and Term is called on it. If none is, the server delivers it
// again when its lease runs out.
type Delivery interface {
	Body() []byte
	// Header returns the first value of a header, empty where there is none.
	Header(name string) string
	Origin() Origin
	// Ack removes the job from the stream.
	Ack() error
	// Nak has the job delivered again after the delay.
	Nak(delay time.Duration) error
	// Term removes the job and tells the server why it was given up.
	Term(reason string) error
	// Extend renews the lease for another ack_wait.
	Extend() error
}

// Undeliverable is why the server no longer delivers a job that no worker has ended.
type Undeliverable struct {
	// Terminated: somebody other than a worker removed the job. Otherwise it ran out of deliveries and is still in
	// the stream.
	Terminated bool
	Suspected  bool   // the job may as well be outstanding
	Deliveries uint64 // how often the job was delivered; 0: not known
	Reason     string // why the job was removed, for people
}
