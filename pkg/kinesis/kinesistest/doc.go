// Package kinesistest gives tests a Kinesis: a fake in the test's own process,
// and the emulators of other people in processes of their own.
//
// The fake speaks the service's real protocol over HTTP (JSON 1.1, and event
// stream frames for SubscribeToShard), so the AWS SDK talks to it unchanged. It
// guarantees what readers depend on: sequence numbers that grow within a
// stream, children that appear when their parents close, pages of ListShards
// as small as asked for. Throttling, expired iterators, refused credentials and
// trimmed records happen when the test says so.
package kinesistest
