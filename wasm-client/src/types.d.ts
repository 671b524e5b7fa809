/// <reference lib="esnext.disposable" />

/**
 * A connection to a waddell server, kept up until it is closed.
 *
 * A client that loses its connection dials again, and then has another id. It lives until
 * {@link Client.close}, or until its attempts are used up, whether or not a variable still
 * holds it.
 */
export class Client extends EventTarget {
    private constructor();

    /**
     * Connects to a server: `wss://host/ws`, in a page also `/ws`.
     *
     * Resolves when the server has given the client an id. Rejects with a {@link WaddellError}
     * when an argument is of no use (`invalid-url`, `invalid-option`, `no-websocket`,
     * `not-initialized`), when the WebSocket constructor refuses the address
     * (`websocket-refused`), when `reconnectAttempts` are used up (`connect-failed`), or when
     * the signal is aborted first (`aborted`).
     */
    static connect(url: string | URL, options?: ConnectOptions): Promise<Client>;

    /** The id by which others reach this client; `null` unless `state` is `"open"`. */
    readonly id: string | null;

    /** Where in its life the client is. */
    readonly state: ClientState;

    /**
     * Returns the one and only handle of a topic, a whole number from 0 to 65535.
     *
     * Messages that arrived on the topic before are there, up to a bound: 1 MiB on all topics
     * together that nobody has asked for yet.
     *
     * @throws {WaddellError} `invalid-topic`
     */
    topic(number: number): Topic;

    /**
     * Closes the client for good. What was sent before still goes out. Loops over topics end
     * when they have read what had arrived. Closing again does nothing.
     */
    close(): void;

    /** Closes the client at the end of a `using` declaration's block. */
    [Symbol.dispose](): void;

    addEventListener<K extends keyof ClientEventMap>(
        type: K,
        listener: ((this: Client, event: ClientEventMap[K]) => void) | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    addEventListener(
        type: string,
        listener: EventListenerOrEventListenerObject | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    removeEventListener<K extends keyof ClientEventMap>(
        type: K,
        listener: ((this: Client, event: ClientEventMap[K]) => void) | null,
        options?: boolean | EventListenerOptions,
    ): void;
    removeEventListener(
        type: string,
        listener: EventListenerOrEventListenerObject | null,
        options?: boolean | EventListenerOptions,
    ): void;
}

/**
 * A client's handle of one topic: sends its messages and receives them.
 *
 * A message that has arrived is dispatched to the `message` listeners at once, and waits for
 * `for await` if a loop has begun or if there is no listener. At most 1 MiB waits on a topic;
 * what arrives beyond that is dropped and counted.
 */
export class Topic extends EventTarget implements AsyncIterable<Message> {
    private constructor();

    /** The topic's number. */
    readonly number: number;

    /** How many messages were dropped because too many waited to be read. */
    readonly lost: number;

    /**
     * Sends a message of at most 65,517 bytes, or of 65,515 if a client of 2015 is to read it.
     * Delivery is at most once, and in order between two peers; nobody is told when the
     * recipient is not connected.
     *
     * @throws {WaddellError} `invalid-peer-id`, `invalid-body`, `body-too-long`,
     * `not-connected`, `closed`, `buffer-full`
     */
    send(peerId: string, body: Body): void;

    /** Reads messages as they arrive. Loops of the same topic share them. Ends on close. */
    [Symbol.asyncIterator](): AsyncIterableIterator<Message>;

    addEventListener<K extends keyof TopicEventMap>(
        type: K,
        listener: ((this: Topic, event: TopicEventMap[K]) => void) | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    addEventListener(
        type: string,
        listener: EventListenerOrEventListenerObject | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    removeEventListener<K extends keyof TopicEventMap>(
        type: K,
        listener: ((this: Topic, event: TopicEventMap[K]) => void) | null,
        options?: boolean | EventListenerOptions,
    ): void;
    removeEventListener(
        type: string,
        listener: EventListenerOrEventListenerObject | null,
        options?: boolean | EventListenerOptions,
    ): void;
}

/** What every error of this package is: an `Error` that says in `code` which one. */
export class WaddellError extends Error {
    private constructor();
    readonly code: ErrorCode;
}

/** What {@link Client.connect} can be told. */
export interface ConnectOptions {
    /**
     * How many further dials follow one that failed before the client gives up; `Infinity`:
     * no end. A connection that was open and is lost is always dialed again. Default 10,
     * about 5 s of waiting.
     */
    reconnectAttempts?: number;
    /**
     * Longest time from a dial to the server's greeting, in milliseconds; `Infinity`: no limit.
     * Default 10,000.
     */
    connectTimeoutMs?: number;
    /**
     * How often a keep-alive frame is sent, in milliseconds, for proxies that cut idle
     * connections. Default `Infinity`: never, because servers ping.
     */
    keepAliveMs?: number;
    /**
     * How many bytes may wait to be sent, over all topics. A message that would exceed it is
     * refused with `buffer-full`, unless nothing waits. Default 1,048,576.
     */
    maxBufferedAmount?: number;
    /** Subprotocols to offer; a waddell server knows `waddell` and needs none. Default none. */
    protocols?: string | string[];
    /** Constructor to use, such as that of the `ws` package. Default `globalThis.WebSocket`. */
    WebSocket?: WebSocketConstructor;
    /** Closes the client when aborted, connected or not. */
    signal?: AbortSignal;
}

/** A class that makes WebSockets: a browser's, or that of Node's `ws` package. */
export type WebSocketConstructor = new (
    url: string,
    protocols: string | string[],
    ...rest: never[]
) => object;

/**
 * `"connecting"`: dialing, or waiting for the greeting. `"open"`: has an id, can send.
 * `"waiting"`: for the time to dial again. `"closed"`: for good.
 */
export type ClientState = "connecting" | "open" | "waiting" | "closed";

/** A message as the server delivered it. */
export interface Message {
    /** Who sent it: the server vouches for that. */
    from: string;
    /** The number of its topic. */
    topic: number;
    /** What it says. */
    body: Uint8Array<ArrayBuffer>;
}

/** Bytes; a string is sent as UTF-8. */
export type BodyPart = string | ArrayBufferLike | ArrayBufferView;

/** A message's body: one part, or several that are joined. */
export type Body = BodyPart | readonly BodyPart[];

/** Which error an error is. */
export type ErrorCode =
    | "aborted"
    | "body-too-long"
    | "buffer-full"
    | "closed"
    | "connect-failed"
    | "connection-lost"
    | "dial-failed"
    | "illegal-constructor"
    | "invalid-body"
    | "invalid-option"
    | "invalid-peer-id"
    | "invalid-topic"
    | "invalid-url"
    | "no-websocket"
    | "not-connected"
    | "not-initialized"
    | "server-misbehaved"
    | "timed-out"
    | "websocket-refused";

/** The events of a {@link Client}. */
export interface ClientEventMap {
    /** The server has given the client an id: after every dial that succeeds. */
    id: CustomEvent<{ id: string }>;
    /** `client.state` has changed. */
    state: CustomEvent<{ state: ClientState }>;
    /**
     * An attempt has failed, or the connection is lost (`dial-failed`, `connection-lost`,
     * `timed-out`, `server-misbehaved`); the client dials again in `retryInMs` milliseconds.
     */
    error: CustomEvent<{ code: ErrorCode; error: WaddellError; retryInMs: number }>;
    /**
     * The client is closed for good. `code` is `closed` and `error` is `null` if the
     * application closed it.
     */
    close: CustomEvent<{ code: ErrorCode; error: WaddellError | null }>;
}

/** The events of a {@link Topic}. */
export interface TopicEventMap {
    /** A message has arrived. */
    message: CustomEvent<Message>;
}
