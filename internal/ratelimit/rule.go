package ratelimit

import (
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// longest returns the longest window: what is older counts in no rule.
func longest(rules []domain.Rule) time.Duration {
	var window time.Duration
	for _, rule := range rules {
		window = max(window, rule.Window)
	}
	return window
}

// MaxClosure is how long a phone can be closed at most: Aliyun's longest window
// is a day. The bucket keeps every document at least this long.
const MaxClosure = 24 * time.Hour

// KeyRefresh is how often the HMAC key in the bucket must be rewritten while it is
// in use, so that it never reaches the age at which the bucket drops it.
const KeyRefresh = time.Hour

// keyCheck is how often it is rewritten in fact, which is how long replicas may
// count under different keys after somebody has purged the bucket or deleted it.
const keyCheck = time.Minute

// BucketTTL returns how long the limits bucket must keep its values under these
// rules.
//
// A document matters for at most L after it was last written, L being the longer
// of the longest window and [MaxClosure]. The HMAC key must outlive every document
// that was written under it, or else the same phone would be looked up under
// another key and start with an empty document. A document is written only by a
// limiter that rewrote the key at most one [KeyRefresh] before; a key written that
// long ago must last another L. A second KeyRefresh is left for the time that a
// call takes between looking at the key and writing.
func BucketTTL(rules []domain.Rule) time.Duration {
	return max(longest(rules), MaxClosure) + 2*KeyRefresh
}
