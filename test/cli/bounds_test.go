package cli

import "time"

// readyWithin bounds the start of a worker under the race detector.
const readyWithin = 60 * time.Second
