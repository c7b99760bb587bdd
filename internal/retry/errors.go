package retry

import (
	"errors"
	"slices"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// Permanent marks an error that no retry fixes, under any policy. Its text stays.
func Permanent(err error) error { return backoff.Permanent(err) }

// NotFinal reports whether a try that failed with err is worth repeating where
// there is nothing better to do: unless err is an answer that stays the same.
func NotFinal(err error) bool {
	return !isAny(err,
		domain.ErrConflict, domain.ErrCorrupt, domain.ErrUnstorable, domain.ErrNotFound,
		jetstream.ErrKeyNotFound, jetstream.ErrMsgNotFound, nats.ErrConnectionClosed,
	)
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// Temporary reports whether a request that failed with err is worth repeating unchanged.
func Temporary(err error) bool {
	if isAny(err,
		ErrAgain, ErrNoAnswer,
		nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrStaleConnection,
		nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded,
		jetstream.ErrNoStreamResponse, jetstream.ErrServerShutdown,
		// Half an answer: what was asked may or may not have been done.
		jetstream.ErrInvalidJSAck, jetstream.ErrInvalidJetStreamResponse, jetstream.ErrConsumerCreationResponseEmpty,
	) {
		return true
	}
	api, _ := errors.AsType[*jetstream.APIError](err)
	return api != nil && (api.Code == 503 || api.Code == 429 || slices.Contains(passing, api.ErrorCode)) &&
		!slices.Contains(lasting, api.ErrorCode)
}

// NeverSent reports whether a request that failed with err surely was not carried out: it did not leave this
// process, or nobody was there to take it. Of any other failed request the answer alone may be lost.
func NeverSent(err error) bool {
	return isAny(err,
		nats.ErrReconnectBufExceeded, nats.ErrConnectionReconnecting,
		nats.ErrNoResponders, jetstream.ErrNoStreamResponse,
	)
}

// Error codes whose HTTP status misleads. The numbers, which jetstream has no names
// for, are those of nats-server's server/errors.json.
var (
	// lasting: 503, yet settings that don't change by waiting.
	lasting = []jetstream.ErrorCode{
		jetstream.JSErrCodeJetStreamNotEnabled, jetstream.JSErrCodeJetStreamNotEnabledForAccount,
		10010, 10035, 10036, // clustering is required, no such account, not in clusters
	}
	// passing: 500 or 409, yet states that a cluster passes through.
	passing = []jetstream.ErrorCode{
		10007, 10009, // not assigned, no leader
		10028, 10047, // memory or storage exceeded
		10118, 10119, 10194, 10195, // stream or consumer offline
		10158, // an earlier try with this message id is being replicated, or is lost yet
	}
)
