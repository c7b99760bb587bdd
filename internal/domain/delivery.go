package domain

import "time"

// Delivery is one delivered job and what can be done with it. Exactly one of
// Ack, Nak and Term is called on it, or none: then the server delivers it again
// when its lease runs out.
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
