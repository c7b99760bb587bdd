package deadletter

import "time"

// Hasty has a replayer give up sooner than a person at a terminal would like.
func (r *Replayer) Hasty() *Replayer {
	r.policy.Total, r.takeUpWait = 300*time.Millisecond, 300*time.Millisecond
	return r
}
