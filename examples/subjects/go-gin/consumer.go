package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand"
	"net"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	setupTimeout   = 3 * time.Second  // for TCP and AMQP together, and again for channels, qos and consume
	closeTimeout   = 2 * time.Second  // for close-ok: a dead peer never sends it
	handlerTimeout = 30 * time.Second // for the work on one message
	stable         = time.Minute      // a session that lasted this long starts the backoff over
)

// errRefused: the broker does not want us, and trying again will not help.
var errRefused = errors.New("the broker refused the login or the virtual host")

// Consumer keeps one connection to the broker, a channel for each worker, and consumes until it is told to stop.
type Consumer struct {
	URL       string
	Queue     string
	Prefetch  int
	Workers   int
	Heartbeat time.Duration
	Base, Cap time.Duration
	// Handle does the work on one message and returns when its effect is committed.
	Handle func(ctx context.Context, d amqp.Delivery) error

	consuming atomic.Bool
	progress  atomic.Bool // a message was handled since the last failure
}

// Consuming is the truth for /health: a connection is up and the broker has confirmed every consumer on it.
func (c *Consumer) Consuming() bool { return c.consuming.Load() }

// Run consumes until ctx is done, and then returns nil once what had begun is finished and acked.
// Lost connections, closed channels and consumers cancelled by the broker are recovered from: at once,
// then with exponential backoff and full jitter. A refused login is returned as an error.
func (c *Consumer) Run(ctx context.Context) error {
	for failures := 0; ; failures++ {
		began := time.Now()
		err := c.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if refused(err) {
			return fmt.Errorf("%w: %v", errRefused, err)
		}
		if c.progress.Swap(false) || time.Since(began) > stable {
			failures = 0
		}
		wait := c.backoff(failures)
		log.Printf("not consuming (%v); next attempt in %v", err, wait.Round(time.Millisecond))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// backoff is how long to wait after so many failures in a row: not at all, then anything up to a doubling,
// capped ceiling, so that the copies of this service do not all come back in the same instant.
func (c *Consumer) backoff(failures int) time.Duration {
	if failures == 0 {
		return 0
	}
	ceiling := c.Cap
	if shift := failures - 1; shift < 20 && c.Base<<shift < c.Cap {
		ceiling = c.Base << shift
	}
	return time.Duration(rand.Int63n(int64(ceiling) + 1))
}

func refused(err error) bool {
	var e *amqp.Error
	return errors.As(err, &e) && (e.Code == amqp.AccessRefused || e.Code == amqp.NotAllowed)
}

// session is one connection, from dialling to its end.
func (c *Consumer) session(ctx context.Context) error {
	var socket net.Conn
	conn, err := amqp.DialConfig(c.URL, amqp.Config{
		Heartbeat: c.Heartbeat,
		Dial: func(network, address string) (net.Conn, error) {
			var err error
			socket, err = amqp.DefaultDial(setupTimeout)(network, address)
			return socket, err
		},
	})
	if err != nil {
		if socket != nil { // the library leaves it open when the broker refuses the login
			socket.Close()
		}
		return err
	}
	defer func() {
		timer := time.AfterFunc(closeTimeout, func() { socket.Close() })
		defer timer.Stop()
		conn.Close()
	}()

	// The library's calls have no deadlines of their own.
	setup := time.AfterFunc(setupTimeout, func() { socket.Close() })
	defer setup.Stop()
	workers := make([]*worker, c.Workers)
	for i := range workers {
		if workers[i], err = c.newWorker(conn, fmt.Sprintf("worker-%d", i)); err != nil {
			return err
		}
	}
	setup.Stop()
	log.Printf("consuming %s", c.Queue)
	c.consuming.Store(true)

	ended := make(chan error, len(workers))
	var running sync.WaitGroup
	for _, w := range workers {
		running.Add(1)
		go func(w *worker) {
			defer running.Done()
			ended <- w.run(ctx)
		}(w)
	}
	select {
	case err = <-ended: // one worker is enough: start over with a whole set
	case <-ctx.Done():
		// The cancel-ok of a dead peer never comes.
		timer := time.AfterFunc(setupTimeout, func() { socket.Close() })
		defer timer.Stop()
		for _, w := range workers {
			w.channel.Cancel(w.tag, false)
		}
		timer.Stop()
	}
	c.consuming.Store(false)
	if ctx.Err() == nil {
		for _, w := range workers { // ends the other workers' deliveries
			w.channel.Cancel(w.tag, true)
		}
	}
	running.Wait() // what has begun is finished before a new connection is given the same message
	return err
}

// worker is one channel and what is consumed on it. Acks go to the channel that delivered.
type worker struct {
	consumer   *Consumer
	tag        string
	channel    *amqp.Channel
	deliveries <-chan amqp.Delivery
	closed     chan *amqp.Error
	cancelled  chan string
}

func (c *Consumer) newWorker(conn *amqp.Connection, tag string) (*worker, error) {
	channel, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	w := &worker{
		consumer: c,
		tag:      tag,
		channel:  channel,
		// Buffered: the library waits for whoever it notifies.
		closed:    channel.NotifyClose(make(chan *amqp.Error, 1)),
		cancelled: channel.NotifyCancel(make(chan string, 1)),
	}
	if err := channel.Qos(c.Prefetch, 0, false); err != nil {
		return nil, err
	}
	w.deliveries, err = channel.Consume(c.Queue, tag, false, false, false, false, nil)
	return w, err
}

// run handles deliveries until there are no more: the channel is closed, or its consumer cancelled by either side.
func (w *worker) run(ctx context.Context) error {
	for d := range w.deliveries {
		if ctx.Err() != nil || w.channel.IsClosed() {
			d.Nack(false, true) // not begun: somebody else's
			continue
		}
		w.handle(d)
	}
	select {
	case err := <-w.closed:
		if err != nil {
			return err
		}
		return amqp.ErrClosed
	case tag := <-w.cancelled:
		return fmt.Errorf("the broker cancelled %s", tag)
	default:
		return errors.New("the deliveries ended")
	}
}

func (w *worker) handle(d amqp.Delivery) {
	// Not a child of the service's context: what has begun is finished.
	ctx, cancel := context.WithTimeout(context.Background(), handlerTimeout)
	defer cancel()
	if err := w.consumer.Handle(ctx, d); err != nil {
		log.Printf("handling %s failed (%v): off to the dead-letter exchange, if there is one", d.MessageId, err)
		d.Nack(false, false)
		return
	}
	w.consumer.progress.Store(true)
	if err := d.Ack(false); err != nil {
		log.Printf("%s is handled, but its channel is gone (%v): it will come again", d.MessageId, err)
	}
}
