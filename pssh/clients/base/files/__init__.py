"""Files between here and a host: SFTP and SCP over a channel of either library."""
