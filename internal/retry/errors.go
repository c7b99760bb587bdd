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

func isPermanent(err error) bool {
	var permanent *backoff.PermanentError
	return errors.As(err, &permanent)
}

// NotFinal reports whether a try that failed with err is worth repeating where
// there is nothing better to do: unless err is an answer that stays the same.
func NotFinal(err error) bool {
	return !isPermanent(err) && !isAny(err,
		domain.ErrConflict, domain.ErrCorrupt, domain.ErrUnstorable, domain.ErrNotFound,
		jetstream.ErrKeyNotFound, jetstream.ErrMsgNotFound, nats.ErrConnectionClosed,
	)
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// Temporary reports whether a request that failed with err is worth repeating
// unchanged.
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
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeJetStreamNotEnabled, jetstream.JSErrCodeJetStreamNotEnabledForAccount,
		clusteringRequired, accountNotFound, notInClusters:
		return false // 503 by number, yet settings that don't change by waiting
	case notAssigned, notLeader, memoryExceeded, storageExceeded, streamOffline, consumerOffline,
		streamOfflineReason, consumerOfflineReason:
		return true // 500 by number, yet a state that a cluster passes through
	case duplicateInProcess:
		return true // 409: an earlier try with this message id is being replicated, or is lost yet
	}
	return api.Code == 503 || api.Code == 429
}

// NeverSent reports whether a request that failed with err surely was not carried
// out: it did not leave this process, or nobody was there to take it. Of any
// other failed request the answer alone may be lost.
func NeverSent(err error) bool {
	return isAny(err,
		nats.ErrReconnectBufExceeded, nats.ErrConnectionReconnecting,
		nats.ErrNoResponders, jetstream.ErrNoStreamResponse,
	)
}

// Error codes that jetstream has no names for; they are those of nats-server's
// server/errors.json.
const (
	notAssigned           jetstream.ErrorCode = 10007
	notLeader             jetstream.ErrorCode = 10009
	clusteringRequired    jetstream.ErrorCode = 10010
	memoryExceeded        jetstream.ErrorCode = 10028
	accountNotFound       jetstream.ErrorCode = 10035
	notInClusters         jetstream.ErrorCode = 10036
	storageExceeded       jetstream.ErrorCode = 10047
	streamOffline         jetstream.ErrorCode = 10118
	duplicateInProcess    jetstream.ErrorCode = 10158
	consumerOffline       jetstream.ErrorCode = 10119
	streamOfflineReason   jetstream.ErrorCode = 10194
	consumerOfflineReason jetstream.ErrorCode = 10195
)
