package broker

import (
	"context"
	"regexp"

	"github.com/nats-io/nats.go/jetstream"
)

// diskError finds the words of operating systems for a disk that takes nothing.
var diskError = regexp.MustCompile("no space left on device|disk quota exceeded|input/output error|read-only file system")

// StoreError returns why the stream's server stores nothing more in it; it is empty
// where the server does, or where that isn't known.
//
// nats-server remembers the first write of a stream that failed until it is restarted, even when its disk has room
// again. Meanwhile it stores no message, leaves it unanswered, and removes none. It says so to nobody but who wants
// a message removed, which is what is asked here for one that never is. A stream with replicas isn't asked: another
// of its servers takes over. A bucket allows no such question.
func StoreError(ctx context.Context, stream jetstream.Stream) string {
	if stream.CachedInfo().Config.Replicas > 1 {
		return ""
	}
	if err := stream.DeleteMsg(ctx, 1<<60); err != nil { // no stream holds as many
		return diskError.FindString(err.Error())
	}
	return ""
}

// StoreRight is what [StoreError] must be allowed. A worker has it for its jobs.
func StoreRight(stream string) Right {
	return publish(api("STREAM.MSG.DELETE."+stream), "remove such a job once it is dead-lettered, and see whether jobs are stored")
}

// Leader names the server that stores the stream's messages, as an operator finds it.
func Leader(js jetstream.JetStream, stream jetstream.Stream) string {
	if cluster := stream.CachedInfo().Cluster; cluster != nil && cluster.Leader != "" {
		return "nats-server " + cluster.Leader
	}
	return "nats-server at " + js.Conn().ConnectedUrlRedacted()
}
