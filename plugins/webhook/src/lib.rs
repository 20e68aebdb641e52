busbar_sdk::adapter! { deliver: deliver }

fn deliver(message: busbar_sdk::Message) -> Result<(), busbar_sdk::Failure> {
    busbar_sdk::log::write(busbar_sdk::log::Level::Info, &message.id);
    Ok(())
}
