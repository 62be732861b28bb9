// Ports of the virtio console by their names, which udev would make elsewhere.
#ifndef VMM_GUEST_INIT_PORTS_H
#define VMM_GUEST_INIT_PORTS_H

/// Makes /dev/virtio-ports/NAME once the port is there. 0 or a negative errno: -ENODEV where it does not appear in time.
long port_provide(const char* name);

#endif
