package domain

// Abandonment is why the server delivers a job no more that no worker has ended.
type Abandonment struct {
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
