package domain

// Undeliverable is why the server no longer delivers a job that no worker has ended.
type Undeliverable struct {
	// Terminated is true where somebody other than a worker removed the job;
	// otherwise it ran out of deliveries and is still in the stream.
	Terminated bool
	// Suspected is true where the job may as well be outstanding: it is in the
	// stream, and was delivered once.
	Suspected bool
	// Deliveries is how often the job was delivered; 0 where that is not known.
	Deliveries uint64
	// Reason is what whoever removed the job gave as the reason, for people.
	Reason string
}
