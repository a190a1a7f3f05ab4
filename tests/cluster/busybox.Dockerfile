# A shell and the common tools in one static file: it holds pods' namespaces open, and serves tests as a small program.
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
CMD ["sleep", "infinity"]
