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

const (
	// MaxClosure is how long a phone can be closed at most: Aliyun's longest window
	// is a day.
	MaxClosure = 24 * time.Hour
	// KeyRefresh is how often the HMAC key in the bucket must be rewritten while it
	// is in use, so that the bucket doesn't drop it.
	KeyRefresh = time.Hour
	// keyCheck is how often it is rewritten in fact: for so long replicas may count
	// under different keys after somebody has emptied the bucket.
	keyCheck = time.Minute
)

// BucketTTL returns how long the limits bucket must keep its values under these
// rules.
//
// A document matters for at most L after it was written, L being the longer of the
// longest window and [MaxClosure]. The HMAC key must outlive every document that was
// written under it, at most one [KeyRefresh] after the key. A second KeyRefresh is
// left for the time that a call takes between looking at the key and writing.
func BucketTTL(rules []domain.Rule) time.Duration {
	return max(longest(rules), MaxClosure) + 2*KeyRefresh
}
