package request

import (
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// nextSteps says what there is to do about a request, where its status alone tells.
var nextSteps = map[passcode.Status]string{
	passcode.StatusSending:     "A call to Aliyun may be in progress. Where its worker is gone, another takes the job up when the lease (worker.ack_wait) runs out. Look again in a moment.",
	passcode.StatusRetrying:    "Another attempt follows. Look again in a moment.",
	passcode.StatusInDoubt:     "Aliyun is being asked what became of the last attempt. Look again in a moment.",
	passcode.StatusSent:        "Aliyun accepted it; nothing is left to do. Its console tells by biz_id or phone what the carrier did.",
	passcode.StatusDelivered:   "The carrier delivered it; nothing is left to do.",
	passcode.StatusUndelivered: "The carrier could not deliver it. The user may ask for a new passcode, or check the number.",
	passcode.StatusRateLimited: "Nothing was sent. \"worker limits show PHONE\" shows what counts against the phone, \"worker limits reset PHONE\" forgets it.",
	passcode.StatusExpired:     "Nothing was sent in time, and the passcode is worth nothing any more: the user asks for a new one. The gaps below show where the time went.",
	passcode.StatusRejected:    "It can't be sent, now or later: the number can't receive it, or the producer made a mistake.",
}

// nextCommand says what there is to do about a request, and with which command. dead
// says that it has a dead letter.
func nextCommand(rec passcode.Result, dead bool, now time.Time) string {
	class := passcode.ClassTransient
	if rec.Error != nil {
		class = rec.Error.Class
	}
	step, enough := nextSteps[rec.Status]
	switch {
	case rec.Status == passcode.StatusRetrying && class == passcode.ClassAccount:
		return "Aliyun refuses the whole account. Once that is in order, \"worker resume\" has it tried at once."
	case rec.Status == passcode.StatusRejected && dead:
		return step + fmt.Sprintf(" \"worker dlq show %s\" shows the job.", rec.RequestID)
	case enough:
		return step
	case !dead:
		return "Its dead letter is gone: replayed, discarded, or older than dead_letters.retention. The user has to ask for a new passcode."
	}
	ttl, late := "", ""
	if !now.Before(rec.ExpiresAt) {
		ttl = " --ttl 10m"
		late = " The passcode has expired, so that makes sense only where the user still waits for it."
	}
	replay := fmt.Sprintf("\"worker dlq replay --id %s%s\"", rec.RequestID, ttl)
	text := fmt.Sprintf("It is in the dead-letter stream: \"worker dlq show %s\" shows it. ", rec.RequestID)
	switch {
	case class == passcode.ClassConfig:
		text += "Fix the template, signature or parameters, then " + replay + " sends it."
	case class == passcode.ClassPoison || rec.Status == passcode.StatusUnknown:
		text += "It may have been sent: " + replay + " asks Aliyun first, and sends only what it doesn't find."
	default:
		text += replay + " tries again."
	}
	return text + late
}
